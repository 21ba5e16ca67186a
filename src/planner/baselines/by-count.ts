import { type Baseline, type BaselineResult, countCapacity, draftCounts, meanUnitMs } from "./baseline.ts";
import type { Instance } from "../instance.ts";

/** The same number of units for every node, the first ones one more. */
export const equal: Baseline = {
  name: "equal",
  rule: "the same number of units on every node (DeepSpeed's uniform method)",
  plan: ({ units, nodes }) => {
    const count = Math.min(units, nodes.length);
    const share = Math.floor(units / count);
    return draftCounts(
      Array.from({ length: count }, (_, node) => ({ node, count: share + (node < units % count ? 1 : 0) })),
    );
  },
};

/** Halda with one round and everything resident: quick nodes are filled up, nodes left at one unit are dropped. */
export const halda: Baseline = {
  name: "halda",
  rule: "fill quick nodes up to their memory, at least one unit on each, drop those with one, again (prima.cpp)",
  plan: (instance) => {
    let nodes = [...instance.nodes.keys()].filter((node) => countCapacity(instance, node) > 0);
    const quickest = (): number[] =>
      [...nodes].sort((a, b) => meanUnitMs(instance, a) - meanUnitMs(instance, b) || a - b);
    nodes = quickest().slice(0, instance.units);
    for (;;) {
      const counts = fill(instance, quickest());
      if (counts === null) return { reason: "the nodes do not hold the model by units of average size" };
      const kept = nodes.filter((node) => counts.get(node) !== 1);
      const isLast = kept.length === nodes.length || kept.length === 0 || fill(instance, kept) === null;
      if (isLast) return draftOfCounts(counts);
      nodes = kept;
    }
  },
};

/** One unit each, the rest to the quickest up to its capacity; null when they do not hold all. */
function fill(instance: Instance, quickest: readonly number[]): Map<number, number> | null {
  const counts = new Map(quickest.map((node) => [node, 1]));
  let left = instance.units - quickest.length;
  for (const node of [...quickest].sort((a, b) => meanUnitMs(instance, a) - meanUnitMs(instance, b) || a - b)) {
    const more = Math.min(left, countCapacity(instance, node) - 1);
    counts.set(node, 1 + more);
    left -= more;
  }
  return left === 0 ? counts : null;
}

/** In the order of the problem. */
function draftOfCounts(counts: ReadonlyMap<number, number>): BaselineResult {
  return draftCounts([...counts].sort(([a], [b]) => a - b).map(([node, count]) => ({ node, count })));
}
