import { must } from "../common/index.ts";
import { roundFigure } from "./round.ts";
import type { CostTable } from "./types.ts";

export interface CostSample {
  readonly rows: number;
  readonly context: number;
  readonly ms: number;
}

/** Puts samples into a table over all their rows and contexts, and says how well its inner cells predict one another. */
export function buildTable(samples: readonly CostSample[]): CostTable {
  const rows = listValues(samples.map((sample) => sample.rows));
  const contexts = listValues(samples.map((sample) => sample.context));
  const ms = rows.map((row) =>
    contexts.map((context) => {
      const sample = samples.find((candidate) => candidate.rows === row && candidate.context === context);
      return sample === undefined ? null : roundFigure(sample.ms);
    }),
  );
  return { rows, contexts, ms, loo_error_ratio: findLeaveOneOutError(rows, contexts, ms) };
}

/**
 * Mean of |predicted - measured| / measured over the cells that have neighbours on both sides along an axis. Each is
 * predicted linearly from them, along both axes (and averaged) where it can be.
 */
function findLeaveOneOutError(
  rows: readonly number[],
  contexts: readonly number[],
  ms: readonly (readonly (number | null)[])[],
): number | null {
  const errors: number[] = [];
  for (const [i, line] of ms.entries()) {
    for (const [j, measured] of line.entries()) {
      if (measured === null || measured <= 0) continue;
      const along = [
        predictFromNeighbours(rows, (place) => ms[place]?.[j] ?? null, i),
        predictFromNeighbours(contexts, (place) => line[place] ?? null, j),
      ].filter((prediction) => prediction !== null);
      if (along.length === 0) continue;
      const predicted = along.reduce((sum, prediction) => sum + prediction, 0) / along.length;
      errors.push(Math.abs(predicted - measured) / measured);
    }
  }
  return errors.length === 0 ? null : roundFigure(errors.reduce((sum, error) => sum + error, 0) / errors.length);
}

function predictFromNeighbours(
  axis: readonly number[],
  read: (place: number) => number | null,
  place: number,
): number | null {
  const places = axis.map((_, index) => index).filter((index) => index !== place && read(index) !== null);
  const before = places.findLast((index) => index < place);
  const behind = places.find((index) => index > place);
  if (before === undefined || behind === undefined) return null;
  const [low, high] = [must(axis[before], "place"), must(axis[behind], "place")];
  const part = (must(axis[place], "place") - low) / (high - low);
  return must(read(before), "cell") * (1 - part) + must(read(behind), "cell") * part;
}

function listValues(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}
