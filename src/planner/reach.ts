import type { Instance } from "./instance.ts";

/**
 * How far a node gets: ends[l] is the largest e such that it can serve units [l, e) within `limitMs` and its memory, or l
 * when it cannot serve unit l. For a node with a table it is the largest end that is allowed, so an upper bound for what
 * lies between.
 */
export function reachEnds(instance: Instance, node: number, limitMs: number): Int16Array {
  const { units } = instance;
  const ends = new Int16Array(units + 1);
  ends[units] = units;
  if (instance.node(node).tableMs !== null) {
    const counts = listCounts(instance, node, limitMs);
    for (let first = 0; first < units; first++) {
      const count = counts.findLast((k) => first + k <= units && instance.fits(node, first, first + k)) ?? 0;
      ends[first] = first + count;
    }
    return ends;
  }
  let end = 0;
  for (let first = 0; first < units; first++) {
    end = Math.max(end, first);
    while (end < units && instance.fits(node, first, end + 1) && instance.stageMs(node, first, end + 1) <= limitMs)
      end++;
    ends[first] = end;
  }
  return ends;
}

/**
 * Where a stage that ends at e may begin at the earliest: starts[e] <= s < e are all allowed, for a node with times by
 * unit; e itself when the node cannot serve unit e-1.
 */
export function reachStarts(instance: Instance, node: number, limitMs: number): Int16Array {
  const { units } = instance;
  const ends = reachEnds(instance, node, limitMs);
  const starts = new Int16Array(units + 1);
  let first = 0;
  for (let end = 0; end <= units; end++) {
    while (first < end && (ends[first] as number) < end) first++;
    starts[end] = first;
  }
  return starts;
}

/**
 * For each place where the rest of a plan begins, how far back a node can bring that place at best, even by serving some of
 * the rest again: for bounds.
 */
export function reachBack(instance: Instance, node: number, limitMs: number): Int16Array {
  const { units } = instance;
  const starts = reachStarts(instance, node, limitMs);
  if (instance.node(node).tableMs !== null) {
    const counts = listCounts(instance, node, limitMs);
    for (let end = 0; end <= units; end++) {
      starts[end] = end - (counts.findLast((k) => k <= end && instance.fits(node, end - k, end)) ?? 0);
    }
  }
  for (let end = units - 1; end >= 0; end--) {
    starts[end] = Math.min(end, starts[end] as number, starts[end + 1] as number);
  }
  return starts;
}

/** Numbers of units that the table of `node` allows within `limitMs`, ascending. */
export function listCounts(instance: Instance, node: number, limitMs: number): number[] {
  const { tableMs, maxUnits } = instance.node(node);
  const counts: number[] = [];
  for (let count = 1; count <= maxUnits; count++) {
    const ms = tableMs?.[count] ?? Number.POSITIVE_INFINITY;
    if (Number.isFinite(ms) && ms <= limitMs) counts.push(count);
  }
  return counts;
}

/** Whether `node` may serve exactly units [first, end) within `limitMs`. */
export function isAllowed(instance: Instance, node: number, first: number, end: number, limitMs: number): boolean {
  return instance.fits(node, first, end) && instance.stageMs(node, first, end) <= limitMs;
}
