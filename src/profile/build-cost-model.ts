import type { Phase } from "../observe/index.ts";
import { buildTable, type CostSample } from "./cost-table.ts";
import { countWork } from "./count-work.ts";
import { findLikes, type MeasuredCell } from "./measured.ts";
import type { ModelWork } from "./model-work.ts";
import { roundFigure } from "./round.ts";
import { median } from "../common/index.ts";
import type { CostClass, CostModelDocument } from "./types.ts";

/** Any cell will do: bytes of weights do not depend on it. */
const ANY_CELL = { phase: "decode", rows: 1, context: 0, outputRows: 1 } as const;

/**
 * Makes the tables that planner and simulator read: for every class of units the median over its measured units, hooks'
 * cost taken off. A class of which nothing was measured has the table of the one that may stand in for it, or is left out.
 */
export function buildCostModel(work: ModelWork, cells: readonly MeasuredCell[], threads: number): CostModelDocument {
  const classes = [...new Set(work.units.map((unit) => unit.unitClass))].flatMap((name): CostClass[] => {
    const units = work.units.filter((unit) => unit.unitClass === name);
    const [first] = units;
    const decode = listSamples(name, "decode", cells);
    const prefill = listSamples(name, "prefill", cells);
    if (first === undefined || decode.length + prefill.length === 0) return [];
    return [
      {
        name,
        units: units.map((unit) => unit.unit),
        weights_bytes: countWork(first, "total", ANY_CELL).weightsBytes,
        kv_bytes_per_token: first.kvBytesPerToken,
        decode: buildTable(decode),
        prefill: buildTable(prefill),
      },
    ];
  });
  return {
    schema: "noodle.cost_model.v1",
    threads,
    step_overhead_ms: { decode: findOverhead("decode", cells), prefill: findOverhead("prefill", cells) },
    classes,
  };
}

function listSamples(unitClass: string, phase: Phase, cells: readonly MeasuredCell[]): CostSample[] {
  return cells.flatMap((cell) => {
    if (cell.phase !== phase) return [];
    const measured = cell.totals.filter((part) => part.statistics.n > 0);
    const likes = findLikes(unitClass, measured, (part) => part.unit.unitClass);
    if (likes.length === 0) return [];
    return { rows: cell.rows, context: cell.context, ms: median(likes.map((part) => part.netMs)) };
  });
}

/** Of the cells of the phase that has them; without any, of the other: a call costs much the same in both. */
function findOverhead(phase: Phase, cells: readonly MeasuredCell[]): number {
  const own = cells.filter((cell) => cell.phase === phase);
  return roundFigure(median((own.length > 0 ? own : cells).map((cell) => cell.outsideMs)));
}
