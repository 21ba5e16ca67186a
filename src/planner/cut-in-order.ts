import { NoodleError } from "../common/index.ts";
import { cutChain } from "./chain.ts";
import type { Problem } from "./document.ts";
import type { StageRange } from "./evaluate.ts";
import { Instance } from "./instance.ts";

/**
 * The cuts of least period when all of these nodes serve a stage, in this order. Exact.
 *
 * @param order ids of nodes of the problem
 * @returns null when there are none
 * @throws NoodleError `USAGE` for a node that the problem does not have
 */
export function cutInOrder(problem: Problem, order: readonly string[]): readonly StageRange[] | null {
  const places = order.map((id) => {
    const place = problem.nodes.findIndex((node) => node.id === id);
    if (place < 0) throw new NoodleError("USAGE", `the problem has no node "${id}"`);
    return place;
  });
  const pieces = cutChain(new Instance(problem), places, "period", Number.POSITIVE_INFINITY);
  return pieces?.map(({ node, first, end }) => ({ nodes: [order[places.indexOf(node)] ?? ""], first, end })) ?? null;
}
