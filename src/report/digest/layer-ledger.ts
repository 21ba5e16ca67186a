import type { LayerRecord } from "../../observe/index.ts";
import { FoldingBins } from "./folding-bins.ts";
import type { HeatDigest, UnitDigest } from "./run-digest.ts";
import { Sketch, spreadOf } from "./sketch.ts";

const MAX_COLUMNS = 160;
const MAX_UNITS = 2048;
const MAX_EPOCHS = 8;

interface Column {
  firstStep: number;
  lastStep: number;
  readonly steps: Map<number, { sumMs: number; count: number }>;
}

interface EpochLayers {
  readonly columns: FoldingBins<Column>;
  readonly units: Map<number, Sketch>;
}

/** Sampled decode steps from inside: a time for each unit, along the run and in the middle. */
export class LayerLedger {
  readonly #epochs = new Map<number, EpochLayers>();

  add(record: LayerRecord): void {
    if (record.phase !== "decode" || record.segments.length === 0) return;
    const epoch = this.#epochOf(record.epoch);
    if (epoch === null) return;
    const byUnit = new Map<number, number>();
    for (const { unit, durationNs } of record.segments) byUnit.set(unit, (byUnit.get(unit) ?? 0) + durationNs / 1e6);
    const column = epoch.columns.at(record.stepId);
    column.firstStep = Math.min(column.firstStep, record.stepId);
    column.lastStep = Math.max(column.lastStep, record.stepId);
    for (const [unit, ms] of byUnit) {
      const cell = column.steps.get(unit);
      if (cell !== undefined) {
        cell.sumMs += ms;
        cell.count += 1;
      } else if (column.steps.size < MAX_UNITS) {
        column.steps.set(unit, { sumMs: ms, count: 1 });
      }
      if (record.rows === 1) addToUnit(epoch.units, unit, ms);
    }
  }

  buildHeat(epoch: number): HeatDigest | null {
    const bins =
      this.#epochs
        .get(epoch)
        ?.columns.list()
        .map((bin) => bin.value) ?? [];
    if (bins.length === 0) return null;
    const units = [...new Set(bins.flatMap((column) => [...column.steps.keys()]))].sort((a, b) => a - b);
    return {
      units,
      columns: bins.map(({ firstStep, lastStep, steps }) => ({
        firstStep,
        lastStep,
        samples: Math.max(...[...steps.values()].map(({ count }) => count)),
      })),
      ms: units.map((unit) =>
        bins.map((column) => {
          const cell = column.steps.get(unit);
          return cell === undefined ? null : cell.sumMs / cell.count;
        }),
      ),
    };
  }

  listUnits(epoch: number): readonly UnitDigest[] {
    return [...(this.#epochs.get(epoch)?.units ?? [])]
      .sort(([a], [b]) => a - b)
      .map(([unit, sketch]) => ({ unit, ms: spreadOf(sketch) ?? { count: 0, p50: 0, p95: 0 } }));
  }

  #epochOf(epoch: number): EpochLayers | null {
    const known = this.#epochs.get(epoch);
    if (known !== undefined) return known;
    if (this.#epochs.size >= MAX_EPOCHS) return null;
    const created: EpochLayers = {
      columns: new FoldingBins<Column>({
        width: 1,
        maxBins: MAX_COLUMNS,
        create: () => ({
          firstStep: Number.POSITIVE_INFINITY,
          lastStep: Number.NEGATIVE_INFINITY,
          steps: new Map(),
        }),
        merge: mergeColumns,
      }),
      units: new Map(),
    };
    this.#epochs.set(epoch, created);
    return created;
  }
}

function addToUnit(units: Map<number, Sketch>, unit: number, ms: number): void {
  let sketch = units.get(unit);
  if (sketch === undefined) {
    if (units.size >= MAX_UNITS) return;
    sketch = new Sketch();
    units.set(unit, sketch);
  }
  sketch.add(ms);
}

function mergeColumns(into: Column, from: Column): void {
  into.firstStep = Math.min(into.firstStep, from.firstStep);
  into.lastStep = Math.max(into.lastStep, from.lastStep);
  for (const [unit, { sumMs, count }] of from.steps) {
    const cell = into.steps.get(unit);
    if (cell === undefined) into.steps.set(unit, { sumMs, count });
    else {
      cell.sumMs += sumMs;
      cell.count += count;
    }
  }
}
