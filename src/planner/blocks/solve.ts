import { listCandidates } from "../candidates.ts";
import type { Deadline } from "../deadline.ts";
import type { Incumbent } from "../incumbent.ts";
import type { Instance, Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";
import { minimizeThreshold } from "../threshold.ts";
import { packBlocks } from "./knapsack.ts";

/**
 * The least period of plans of at least two stages, for alike blocks and equal hops; `incumbent` (pieces of kinds)
 * may hold a plan of one node and gets better ones.
 *
 * @throws TimeIsUp
 */
export function solvePeriodByBlocks(
  kinds: Kinds,
  limits: { readonly capMs: number; readonly maxNodes: number; readonly deadline: Deadline },
  incumbent: Incumbent<readonly Piece[]>,
): void {
  const { instance } = kinds;
  const { capMs, maxNodes, deadline } = limits;
  const kindOf = kinds.mapNodes();
  const occupyMs = instance.occupyMs(0, 1);
  const test = (limitMs: number): { plan: readonly Piece[]; valueMs: number } | null => {
    if (occupyMs > limitMs || instance.nodes.length < 2) return null;
    const found = packBlocks(instance, limitMs, "nodes", deadline);
    if (found === null || found.cost > maxNodes) return null;
    const pieces = found.pieces.map((piece) => ({ ...piece, node: kindOf.get(piece.node) ?? 0 }));
    return { plan: pieces, valueMs: periodOfBlocks(instance, found.pieces) };
  };
  if (incumbent.plan === null) {
    const hit = test(capMs);
    if (hit === null) return incumbent.raise(Number.POSITIVE_INFINITY);
    incumbent.offer(hit.plan, hit.valueMs);
  }
  minimizeThreshold(
    { plan: incumbent.plan ?? [], valueMs: incumbent.value },
    incumbent.bound,
    listCandidates(kinds, incumbent.bound, incumbent.value),
    false,
    test,
    ({ best, boundMs }) => {
      incumbent.offer(best.plan, best.valueMs);
      incumbent.raise(boundMs);
    },
  );
  incumbent.raise(incumbent.value);
}

function periodOfBlocks(instance: Instance, pieces: readonly Piece[]): number {
  const stages = pieces.map((piece) => instance.stageMs(piece.node, piece.first, piece.end));
  return Math.max(instance.occupyMs(0, 1), ...stages);
}
