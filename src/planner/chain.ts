import type { Instance, Piece } from "./instance.ts";

/** What the cuts of a given order are to make small. */
export type ChainGoal = "period" | "latency";

/**
 * The best cuts when the nodes and their order are given, each serving at least one unit: the least period (or latency)
 * within a limit of the period. Exact, O(nodes x units^2).
 *
 * @returns null when there are none
 */
export function cutChain(
  instance: Instance,
  order: readonly number[],
  goal: ChainGoal,
  limitMs: number,
): Piece[] | null {
  const { units } = instance;
  let values = new Float64Array(units + 1).fill(Number.POSITIVE_INFINITY);
  values[0] = 0;
  const froms: Int16Array[] = [];
  for (const [place, node] of order.entries()) {
    const before = order[place - 1];
    const occupyMs = before === undefined ? 0 : instance.occupyMs(before, node);
    if (occupyMs > limitMs) return null;
    const hopMs = before === undefined ? 0 : instance.hopMs(before, node);
    const next = new Float64Array(units + 1).fill(Number.POSITIVE_INFINITY);
    const from = new Int16Array(units + 1).fill(-1);
    const isRun = instance.node(node).tableMs === null;
    for (let first = 0; first < units; first++) {
      const value = values[first] as number;
      if (value === Number.POSITIVE_INFINITY) continue;
      for (let end = first + 1; end <= units; end++) {
        const ms = instance.fits(node, first, end) ? instance.stageMs(node, first, end) : Number.POSITIVE_INFINITY;
        if (ms > limitMs || ms === Number.POSITIVE_INFINITY) {
          if (isRun) break;
          continue;
        }
        const total = goal === "period" ? Math.max(value, occupyMs, ms) : value + hopMs + ms;
        if (total < (next[end] as number)) {
          next[end] = total;
          from[end] = first;
        }
      }
    }
    values = next;
    froms.push(from);
  }
  if (values[units] === Number.POSITIVE_INFINITY) return null;
  const pieces: Piece[] = [];
  let end = units;
  for (let place = order.length - 1; place >= 0; place--) {
    const first = (froms[place] as Int16Array)[end] as number;
    pieces.unshift({ node: order[place] as number, first, end });
    end = first;
  }
  return pieces;
}
