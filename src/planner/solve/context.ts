import type { LinearSolver } from "../cover.ts";
import type { Deadline } from "../deadline.ts";
import type { Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";

/** What every objective's solver gets. */
export interface SolveContext {
  readonly kinds: Kinds;
  readonly deadline: Deadline;
  /** Null where integer programs can't be solved; search takes their place. */
  readonly solver: LinearSolver | null;
}

/** The best plan of one node within a limit of the period, as a piece of its kind: the quickest node that can do all. */
export function findAlone(kinds: Kinds, limitMs: number): { pieces: readonly Piece[]; ms: number } | null {
  const { instance } = kinds;
  const { units } = instance;
  let best: { pieces: readonly Piece[]; ms: number } | null = null;
  for (let kind = 0; kind < kinds.size; kind++) {
    const node = kinds.node(kind);
    if (!instance.fits(node, 0, units)) continue;
    const ms = instance.stageMs(node, 0, units);
    if (ms <= limitMs && ms < (best?.ms ?? Number.POSITIVE_INFINITY))
      best = { pieces: [{ node: kind, first: 0, end: units }], ms };
  }
  return best;
}
