import type { Instance } from "../instance.ts";

/**
 * Whether the order of the middle stages means nothing: hops all cost the same, and the units between the first and the
 * last are alike for every node, as the blocks of most models are. Then only the numbers of blocks have to be chosen.
 */
export function hasAlikeBlocks(instance: Instance): boolean {
  const { problem, units } = instance;
  if (!instance.uniformLinks || units < 2) return false;
  const ends = (problem.tied_units ?? []).flat();
  if (ends.some((unit) => unit !== 0 && unit !== units - 1)) return false;
  if (!isFlat(problem.unit_bytes) || !isFlat(problem.kv_bytes_per_token)) return false;
  return problem.nodes.every((node) => isFlat(node.unit_ms));
}

function isFlat(values: readonly number[] | undefined): boolean {
  if (values === undefined) return true;
  return values.slice(2, -1).every((value) => value === values[1]);
}

/** The three places that a node can have in a plan of several stages. */
export type Place = "first" | "middle" | "last";

/** The range of units of a stage with so many blocks: first stages begin with unit 0, last ones end with the last unit. */
export function rangeOf(units: number, place: Place, blocks: number): [first: number, end: number] {
  if (place === "first") return [0, 1 + blocks];
  return place === "middle" ? [1, 1 + blocks] : [units - 1 - blocks, units];
}

/** Numbers of blocks that a node can take at a place within `limitMs`, ascending; a middle stage takes at least one. */
export function listBlockCounts(instance: Instance, index: number, place: Place, limitMs: number): number[] {
  const { units } = instance;
  const least = place === "middle" ? 1 : 0;
  const isAllowed = (blocks: number): boolean => {
    const [first, end] = rangeOf(units, place, blocks);
    return instance.fits(index, first, end) && instance.stageMs(index, first, end) <= limitMs;
  };
  const counts: number[] = [];
  if (instance.node(index).tableMs !== null) {
    for (let blocks = least; blocks <= units - 2; blocks++) if (isAllowed(blocks)) counts.push(blocks);
    return counts;
  }
  // More blocks take more of everything: the allowed numbers are a run.
  let [low, high] = [least - 1, units - 2];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (middle >= least && isAllowed(middle)) low = middle;
    else high = middle - 1;
  }
  for (let blocks = least; blocks <= low; blocks++) counts.push(blocks);
  return counts;
}
