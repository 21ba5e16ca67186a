import type { Kinds } from "../kinds.ts";
import { reachEnds } from "../reach.ts";

/** Beyond so many stages the bound costs more than it saves. */
const STAGES_MAX = 2e8;

/**
 * From each prefix on, what the rest of a plan costs at least: the cheapest stages and hops, as if every node could be
 * used again and again. Infinite where no node can go on.
 */
export function boundCompletions(kinds: Kinds, limitMs: number): Float64Array {
  const { instance, size } = kinds;
  const { units } = instance;
  const completions = new Float64Array(units + 1);
  if (size * units * units > STAGES_MAX) return completions;
  const { hops, backMs } = boundHops(kinds, limitMs);
  const ends = kinds.members.map((_, kind) => reachEnds(instance, kinds.node(kind), limitMs));
  completions[units] = backMs;
  for (let first = units - 1; first > 0; first--) {
    let least = Number.POSITIVE_INFINITY;
    for (let kind = 0; kind < size; kind++) {
      const node = kinds.node(kind);
      const isTable = instance.node(node).tableMs !== null;
      const reach = (ends[kind] as Int16Array)[first] as number;
      for (let end = first + 1; end <= reach; end++) {
        if (isTable && !instance.fits(node, first, end)) continue;
        const ms = instance.stageMs(node, first, end);
        if (ms > limitMs) continue;
        least = Math.min(least, (hops[kind] as number) + ms + (completions[end] as number));
      }
    }
    completions[first] = least;
  }
  return completions;
}

/** The cheapest hop to each kind, and the cheapest way back. */
function boundHops(kinds: Kinds, limitMs: number): { hops: Float64Array; backMs: number } {
  const { instance, size } = kinds;
  if (instance.uniformLinks) {
    const hopMs = instance.occupyMs(0, 1) > limitMs ? Number.POSITIVE_INFINITY : instance.hopMs(0, 1);
    return { hops: new Float64Array(size).fill(hopMs), backMs: instance.returnMs(0, 1) };
  }
  const hops = new Float64Array(size).fill(Number.POSITIVE_INFINITY);
  let backMs = Number.POSITIVE_INFINITY;
  for (let from = 0; from < size; from++) {
    for (let to = 0; to < size; to++) {
      if (from === to && kinds.count(from) === 1) continue;
      backMs = Math.min(backMs, kinds.returnMs(from, to));
      if (kinds.occupyMs(from, to) <= limitMs) hops[to] = Math.min(hops[to] as number, kinds.hopMs(from, to));
    }
  }
  return { hops, backMs };
}
