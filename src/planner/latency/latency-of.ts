import type { Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";

/** Latency of a plan of one node each, in pieces of kinds. */
export function latencyOf(kinds: Kinds, pieces: readonly Piece[]): number {
  const { instance } = kinds;
  const sumMs = pieces.reduce((sum, piece, index) => {
    const next = pieces[index + 1];
    const stageMs = instance.stageMs(kinds.node(piece.node), piece.first, piece.end);
    return sum + stageMs + (next === undefined ? 0 : kinds.hopMs(piece.node, next.node));
  }, 0);
  const first = pieces[0];
  const last = pieces.at(-1);
  if (pieces.length < 2 || first === undefined || last === undefined) return sumMs;
  return sumMs + (instance.problem.return_bytes === undefined ? 0 : kinds.returnMs(last.node, first.node));
}
