import { Incumbent } from "../incumbent.ts";
import type { Piece } from "../instance.ts";
import { hasAlikeBlocks } from "../blocks/shape.ts";
import { fitsBlockKnapsack } from "../blocks/knapsack.ts";
import { BlockLatency } from "../latency/by-blocks.ts";
import { latencyOf } from "../latency/latency-of.ts";
import { searchPlans } from "../search/period.ts";
import { LatencySolver, type LatencyMethod } from "../latency/solve.ts";
import { findAlone, type SolveContext } from "./context.ts";
import type { Solved } from "./period.ts";

/** After the time limit: enough to have some plan. */
const GRACE_MS = 1_000;

/** Kinds up to which refinement is always quick enough. */
const KINDS_REFINED = 12;

export function chooseLatencyMethod({ kinds, deadline }: SolveContext): LatencyMethod {
  const { instance } = kinds;
  const byBlocks = kinds.size > KINDS_REFINED && hasAlikeBlocks(instance) && fitsBlockKnapsack(instance);
  return byBlocks ? new BlockLatency(kinds, deadline) : new LatencySolver(kinds, deadline);
}

/** The least latency of plans of one node for each stage, with a period of at most `capMs`. */
export function solveLatency(context: SolveContext, capMs: number, method = chooseLatencyMethod(context)): Solved {
  const incumbent = new Incumbent<readonly Piece[]>();
  const alone = findAlone(context.kinds, capMs);
  if (alone !== null) incumbent.offer(alone.pieces, alone.ms);
  if (context.kinds.instance.nodes.length === 1) incumbent.raise(incumbent.value);
  else method.solve(capMs, incumbent);
  if (incumbent.plan === null && incumbent.bound !== Number.POSITIVE_INFINITY) findAny(context, capMs, incumbent);
  return { incumbent, algorithm: context.kinds.instance.nodes.length === 1 ? "one-node" : method.algorithm };
}

/** When there was no time for a plan of little latency, any plan will do. */
function findAny(context: SolveContext, capMs: number, incumbent: Incumbent<readonly Piece[]>): void {
  const { kinds, deadline } = context;
  const found = new Incumbent<readonly Piece[]>();
  searchPlans(kinds, { capMs, maxNodes: Number.POSITIVE_INFINITY, deadline: deadline.extended(GRACE_MS) }, found);
  if (found.plan !== null) incumbent.offer(found.plan, latencyOf(kinds, found.plan));
}
