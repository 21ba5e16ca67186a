import { sum } from "../common/index.ts";
import { countWork } from "./count-work.ts";
import type { MeasuredCell } from "./measured.ts";
import type { ModelWork } from "./model-work.ts";

export interface TwoStageCut {
  readonly cut: number;
  /** Time of the slower stage. */
  readonly slowestMs: number;
}

export interface TwoStageCuts {
  /** The legal cut whose slower stage is fastest. */
  readonly byTime: TwoStageCut;
  /** The legal cut whose larger stage is smallest. */
  readonly byBytes: TwoStageCut;
  /** Undivided. */
  readonly totalMs: number;
}

/**
 * Where two equal machines would cut the model for steps like this one.
 *
 * @returns null for a model that cannot be cut, or of which not all units were measured
 */
export function findTwoStageCuts(work: ModelWork, cell: MeasuredCell): TwoStageCuts | null {
  if (cell.totals.length !== work.units.length || work.legalCuts.length === 0) return null;
  const times = cell.totals.map((part) => part.netMs);
  const bytes = cell.totals.map((part) => countWork(part.unit, "total", cell).weightsBytes);
  const totalMs = sum(times) + cell.outsideMs;
  const slowest = (cut: number): number => Math.max(sum(times.slice(0, cut)), sum(times.slice(cut))) + cell.outsideMs;
  const largest = (cut: number): number => Math.max(sum(bytes.slice(0, cut)), sum(bytes.slice(cut)));
  const [byTime, byBytes] = [findLeast(work.legalCuts, slowest), findLeast(work.legalCuts, largest)];
  return {
    byTime: { cut: byTime, slowestMs: slowest(byTime) },
    byBytes: { cut: byBytes, slowestMs: slowest(byBytes) },
    totalMs,
  };
}

/** The earliest of the best. */
function findLeast(cuts: readonly number[], weigh: (cut: number) => number): number {
  return cuts.reduce((best, cut) => (weigh(cut) < weigh(best) ? cut : best));
}
