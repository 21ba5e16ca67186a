import { must } from "../common/index.ts";
import type { UnitRange } from "./units.ts";

/** What a segment costs; infinite when it must not be. */
export type SegmentCost = (first: number, end: number) => number;

/**
 * Cuts a row of places into exactly so many segments such that the dearest is as cheap as can be, and, among those, the
 * sum of squares is least: dynamic programming over the bounds, O(segments x bounds^2). Ties go to the earliest cut.
 *
 * @param bounds places where a segment may begin or end, ascending
 * @returns null when no choice of bounds gives finite costs
 */
export function balance(bounds: readonly number[], segments: number, cost: SegmentCost): UnitRange[] | null {
  const costs = bounds.map((first, i) => bounds.map((end, j) => (j > i ? cost(first, end) : Number.POSITIVE_INFINITY)));
  const dearest = minimise(costs, segments, Math.max, (segmentCost) => segmentCost);
  if (dearest === null) return null;
  const even = minimise(
    costs,
    segments,
    (sum, square) => sum + square,
    (segmentCost) => (segmentCost > dearest.total ? Number.POSITIVE_INFINITY : segmentCost ** 2),
  );
  const path = must(even, "a split as good as the best").path;
  return path.slice(1).map((to, index) => ({
    first: must(bounds[must(path[index], "bound")], "bound"),
    end: must(bounds[to], "bound"),
  }));
}

/** Cheapest path from the first bound to the last in exactly so many steps. */
function minimise(
  costs: readonly (readonly number[])[],
  segments: number,
  combine: (total: number, step: number) => number,
  weigh: (segmentCost: number) => number,
): { total: number; path: number[] } | null {
  const last = costs.length - 1;
  let totals: number[] = costs.map((_, index) => (index === 0 ? 0 : Number.POSITIVE_INFINITY));
  const cameFrom: number[][] = [];
  for (let step = 0; step < segments; step++) {
    const next: number[] = costs.map(() => Number.POSITIVE_INFINITY);
    const from: number[] = costs.map(() => -1);
    for (let end = 1; end <= last; end++) {
      for (let first = 0; first < end; first++) {
        const total = combine(at(totals, first), weigh(at(at(costs, first), end)));
        if (total < at(next, end)) {
          next[end] = total;
          from[end] = first;
        }
      }
    }
    totals = next;
    cameFrom.push(from);
  }
  const total = at(totals, last);
  if (!Number.isFinite(total)) return null;
  const path = [last];
  for (const from of cameFrom.reverse()) path.unshift(at(from, at(path, 0)));
  return { total, path };
}

function at<T>(items: readonly T[], index: number): T {
  return must(items[index], "item of a table");
}
