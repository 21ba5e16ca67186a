import type { Instance } from "./instance.ts";
import type { Kinds } from "./kinds.ts";
import { listCounts } from "./reach.ts";

/** More candidates than this are not listed; the search then halves the range of real numbers. */
const CANDIDATES_MAX = 1_000_000;

/**
 * Every value that a period in [lowMs, highMs] can have: times of stages that fit, times for which hops occupy a link.
 * Ascending, without doubles; null when there are too many to list.
 */
export function listCandidates(kinds: Kinds, lowMs: number, highMs: number): Float64Array | null {
  const { instance } = kinds;
  const values: number[] = [];
  const add = (ms: number): void => {
    if (ms >= lowMs && ms <= highMs) values.push(ms);
  };
  for (let kind = 0; kind < kinds.size; kind++) {
    if (!addStages(instance, kinds.node(kind), highMs, lowMs, add, () => values.length > CANDIDATES_MAX)) return null;
    if (instance.uniformLinks) continue;
    for (let to = 0; to < kinds.size; to++) add(kinds.occupyMs(kind, to));
  }
  if (instance.uniformLinks) add(kinds.occupyMs(0, 0));
  const sorted = Float64Array.from(values).sort();
  let count = 0;
  for (const value of sorted) {
    if (count === 0 || value !== sorted[count - 1]) sorted[count++] = value;
  }
  return sorted.slice(0, count);
}

function addStages(
  instance: Instance,
  node: number,
  highMs: number,
  lowMs: number,
  add: (ms: number) => void,
  isFull: () => boolean,
): boolean {
  const { units } = instance;
  if (instance.node(node).tableMs !== null) {
    for (const count of listCounts(instance, node, highMs)) add(instance.stageMs(node, 0, count));
    return true;
  }
  // For each first unit the ends within [lowMs, highMs] are a run; both of its ends only move up.
  let start = 0;
  for (let first = 0; first < units; first++) {
    start = Math.max(start, first + 1);
    while (start <= units && instance.stageMs(node, first, start) < lowMs) start++;
    for (let end = start; end <= units && instance.fits(node, first, end); end++) {
      const ms = instance.stageMs(node, first, end);
      if (ms > highMs) break;
      add(ms);
    }
    if (isFull()) return false;
  }
  return true;
}
