import { packBlocks } from "../blocks/knapsack.ts";
import { weighUnits } from "../bounds.ts";
import { canCover, findFewestByCover } from "../cover.ts";
import { TimeIsUp } from "../deadline.ts";
import type { Piece } from "../instance.ts";
import { searchPeriod } from "../search/beam.ts";
import { findFewestByStates, periodOf } from "../states/period.ts";
import { findAlone, type SolveContext } from "./context.ts";
import { chooseExact, nameStates, type Solved, solvePeriod } from "./period.ts";

export interface FewestNodes extends Solved {
  /** Nodes of the plan; null without one. */
  readonly nodes: number | null;
  /** No plan has fewer. Infinite: there is none at all. */
  readonly boundNodes: number;
}

const WIDTH = 16;

/** The fewest nodes with a period of at most `capMs`, and among such plans the least period. */
export async function solveFewest(context: SolveContext, capMs: number): Promise<FewestNodes> {
  const count = await countFewest(context, capMs);
  if (count.pieces === null) {
    const none = await solvePeriod(context, capMs, Number.POSITIVE_INFINITY);
    if (none.incumbent.plan === null) {
      const boundNodes = none.incumbent.bound === Number.POSITIVE_INFINITY ? none.incumbent.bound : count.boundNodes;
      return { ...none, nodes: null, boundNodes };
    }
    return { ...none, nodes: none.incumbent.plan.length, boundNodes: count.boundNodes };
  }
  const nodes = count.pieces.length;
  const solved = await solvePeriod(context, capMs, nodes);
  solved.incumbent.offer(count.pieces, periodOf(context.kinds, count.pieces));
  const used = solved.incumbent.plan?.length ?? nodes;
  return { incumbent: solved.incumbent, nodes: used, boundNodes: count.boundNodes, algorithm: count.algorithm };
}

export interface Count {
  readonly pieces: readonly Piece[] | null;
  readonly boundNodes: number;
  readonly algorithm: string;
}

/** The fewest nodes alone. */
export async function countFewest(context: SolveContext, capMs: number): Promise<Count> {
  const { kinds, deadline, solver } = context;
  const { instance } = kinds;
  const alone = findAlone(kinds, capMs);
  if (alone !== null) return { pieces: alone.pieces, boundNodes: 1, algorithm: "one-node" };
  const { states, blocks } = chooseExact(context);
  try {
    if (states !== null) {
      const found = findFewestByStates(states, { capMs, maxNodes: Number.POSITIVE_INFINITY, deadline }, capMs);
      const boundNodes = found?.nodes ?? Number.POSITIVE_INFINITY;
      return { pieces: found?.pieces ?? null, boundNodes, algorithm: nameStates(states) };
    }
    if (blocks) {
      const isOpen = instance.occupyMs(0, 1) <= capMs;
      const found = isOpen ? packBlocks(instance, capMs, "nodes", deadline) : null;
      const kindOf = kinds.mapNodes();
      const pieces = found?.pieces.map((piece) => ({ ...piece, node: kindOf.get(piece.node) ?? 0 })) ?? null;
      return { pieces, boundNodes: pieces?.length ?? Number.POSITIVE_INFINITY, algorithm: "block-knapsack" };
    }
  } catch (thrown) {
    if (!(thrown instanceof TimeIsUp)) throw thrown;
    return { pieces: null, boundNodes: boundNodes(context, capMs), algorithm: "subset-dp, cut short" };
  }
  const bound = boundNodes(context, capMs);
  const found = searchFewest(context, capMs, bound);
  if (solver === null || !canCover(kinds) || found?.length === bound) {
    return { pieces: found, boundNodes: bound, algorithm: "search+bound" };
  }
  const cover = await findFewestByCover(kinds, capMs, { maxNodes: Number.POSITIVE_INFINITY, deadline, solver });
  const algorithm = "interval-cover-milp";
  if (cover.status === "impossible") return { pieces: null, boundNodes: Number.POSITIVE_INFINITY, algorithm };
  if (cover.status === "undecided") return { pieces: found, boundNodes: bound, algorithm };
  const isPlan = periodOf(kinds, cover.pieces) <= capMs * (1 + 1e-12);
  const best = isPlan && cover.pieces.length <= (found?.length ?? Number.POSITIVE_INFINITY) ? cover.pieces : found;
  return { pieces: best, boundNodes: cover.isFewest ? Math.max(bound, cover.pieces.length) : bound, algorithm };
}

/** Fewer nodes than this can't cover the units, whatever they do; infinite when all can't. */
function boundNodes({ kinds }: SolveContext, capMs: number): number {
  const most = Math.min(kinds.instance.nodes.length, kinds.instance.units);
  if (weighUnits(kinds, capMs, most).impossible) return Number.POSITIVE_INFINITY;
  let [low, high] = [2, most];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (weighUnits(kinds, capMs, middle).impossible) low = middle + 1;
    else high = middle;
  }
  return low;
}

function searchFewest({ kinds, deadline }: SolveContext, capMs: number, bound: number): readonly Piece[] | null {
  if (!Number.isFinite(bound)) return null;
  let best: readonly Piece[] | null = null;
  try {
    for (let maxNodes = kinds.instance.nodes.length; maxNodes >= bound; ) {
      const options = { limitMs: capMs, maxNodes, width: WIDTH, deadline };
      const found = searchPeriod(kinds, weighUnits(kinds, capMs, maxNodes), options);
      if (found === null) break;
      best = found;
      maxNodes = found.length - 1;
    }
  } catch (thrown) {
    if (!(thrown instanceof TimeIsUp)) throw thrown;
  }
  return best;
}
