import { median } from "../common/index.ts";
import {
  type CostClass,
  type CostModelDocument,
  type CostTable,
  countWork,
  type ModelWork,
  type UnitWork,
} from "../profile/index.ts";
import { type Calibration, findMainType, rooflineMs, USUAL_COMPUTE_RATIO } from "./calibrate.ts";
import type { CostScale, Hardware } from "./cluster-types.ts";

/** Between them costs are taken as straight lines, as those of a profile are. */
const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] as const;
const CONTEXTS = [0, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072] as const;

/** A profile's costs on a machine that needs so many times as long, and so much more for every call. */
export function scaleCosts(costs: CostModelDocument, scale: CostScale, overheadMs: number): CostModelDocument {
  return {
    ...costs,
    step_overhead_ms: {
      decode: costs.step_overhead_ms.decode * scale.decode + overheadMs,
      prefill: costs.step_overhead_ms.prefill * scale.prefill + overheadMs,
    },
    classes: costs.classes.map((one) => ({
      ...one,
      decode: scaleTable(one.decode, scale.decode),
      prefill: scaleTable(one.prefill, scale.prefill),
    })),
  };
}

function scaleTable(table: CostTable, factor: number): CostTable {
  return factor === 1
    ? table
    : { ...table, ms: table.ms.map((line) => line.map((ms) => (ms === null ? null : ms * factor))) };
}

/**
 * Costs of a model on a machine known by its data sheet only: bytes and flops of every unit (experts as many as the rows
 * meet, windows as far as they see) at the rates that calibration says are reached.
 */
export function imagineCosts(
  work: ModelWork,
  hardware: Hardware,
  calibration: Calibration,
  overheadMs: number,
): CostModelDocument {
  const classes = new Map<string, UnitWork[]>();
  for (const unit of work.units) classes.set(unit.unitClass, [...(classes.get(unit.unitClass) ?? []), unit]);
  return {
    schema: "noodle.cost_model.v1",
    threads: 1,
    step_overhead_ms: {
      decode: calibration.callMs.decode + overheadMs,
      prefill: calibration.callMs.prefill + overheadMs,
    },
    classes: [...classes].flatMap(([name, units]): CostClass[] => {
      const [first] = units;
      if (first === undefined) return [];
      return [
        {
          name,
          units: units.map((unit) => unit.unit),
          weights_bytes: countWork(first, "total", { phase: "decode", rows: 1, context: 0, outputRows: 1 })
            .weightsBytes,
          kv_bytes_per_token: first.kvBytesPerToken,
          decode: imagineTable(first, "decode", hardware, calibration),
          prefill: imagineTable(first, "prefill", hardware, calibration),
        },
      ];
    }),
  };
}

function imagineTable(
  unit: UnitWork,
  phase: "decode" | "prefill",
  hardware: Hardware,
  calibration: Calibration,
): CostTable {
  const ratios = [...calibration.computeRatio.values()];
  const usual = ratios.length === 0 ? USUAL_COMPUTE_RATIO : median(ratios);
  const ratio = calibration.computeRatio.get(findMainType(unit.tensors)) ?? usual;
  const reached = {
    bytesPerMs: hardware.memoryGbPerS * hardware.devices * calibration.memoryRatio * 1e6,
    flopsPerMs: hardware.computeGflops * hardware.devices * ratio * 1e6,
    overlap: calibration.overlap,
    unitMs: calibration.unitMs,
  };
  return {
    rows: ROWS,
    contexts: CONTEXTS,
    ms: ROWS.map((rows) =>
      CONTEXTS.map((context) => {
        const cell = { phase, rows, context, outputRows: phase === "decode" ? rows : 1 } as const;
        const { bytesMoved, flops } = countWork(unit, "total", cell);
        return rooflineMs({ bytes: bytesMoved, flops }, reached);
      }),
    ),
    loo_error_ratio: calibration.looErrorRatio,
  };
}
