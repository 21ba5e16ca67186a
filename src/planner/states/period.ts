import { listCandidates } from "../candidates.ts";
import type { Deadline } from "../deadline.ts";
import type { Incumbent } from "../incumbent.ts";
import type { Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";
import { reachEnds } from "../reach.ts";
import { minimizeThreshold } from "../threshold.ts";
import { type Found, probeLongest } from "./longest.ts";
import { probeReachable } from "./reachable.ts";
import { classifyLinks, type StateSpace } from "./state-space.ts";

/** Words that the reachable prefixes may take: 256 MiB. */
const WORDS_MAX = 2 ** 26;

export interface StateLimits {
  readonly capMs: number;
  readonly maxNodes: number;
  readonly deadline: Deadline;
}

/**
 * The least period over all nodes, orders and cuts, exactly: a threshold search over states.
 *
 * @param incumbent of pieces of kinds; gets every better plan and bound. It ends proven, or without a plan when there is
 *   none within `capMs`
 * @throws TimeIsUp
 */
export function solvePeriodByStates(
  space: StateSpace,
  limits: StateLimits,
  incumbent: Incumbent<readonly Piece[]>,
): void {
  const { kinds } = space;
  if (incumbent.plan === null) {
    const found = probeExact(space, limits, limits.capMs, false);
    if (found === null) return incumbent.raise(Number.POSITIVE_INFINITY);
    incumbent.offer(found.pieces, periodOf(kinds, found.pieces));
  }
  if (kinds.members.some((_, kind) => kinds.instance.node(kinds.node(kind)).tableMs !== null)) {
    raiseByRelaxation(space, limits, incumbent);
  }
  const hasTables = kinds.instance.nodes.some((node) => node.tableMs !== null);
  const candidates = listCandidates(kinds, incumbent.bound, incumbent.value);
  minimizeThreshold(
    { plan: incumbent.plan ?? [], valueMs: incumbent.value },
    incumbent.bound,
    candidates,
    hasTables,
    (limitMs) => {
      const found = probeExact(space, limits, limitMs, false);
      return found === null ? null : { plan: found.pieces, valueMs: periodOf(kinds, found.pieces) };
    },
    ({ best, boundMs }) => {
      incumbent.offer(best.plan, best.valueMs);
      incumbent.raise(boundMs);
    },
  );
  incumbent.raise(incumbent.value);
}

/** The fewest nodes of a plan within `limitMs`, and such a plan; null when there is none. @throws TimeIsUp */
export function findFewestByStates(space: StateSpace, limits: StateLimits, limitMs: number): Found | null {
  return probeExact(space, limits, limitMs, true);
}

/** With tables the exact test is dear; what holds even when stages may be empty narrows the search first. */
function raiseByRelaxation(space: StateSpace, limits: StateLimits, incumbent: Incumbent<readonly Piece[]>): void {
  const { maxNodes, deadline } = limits;
  const { boundMs } = minimizeThreshold(
    { plan: null, valueMs: incumbent.value },
    incumbent.bound,
    listCandidates(space.kinds, incumbent.bound, incumbent.value),
    false,
    (limitMs) =>
      probeLongest(space, { limitMs, maxNodes, relaxed: true, fewest: false, deadline }) === null
        ? null
        : { plan: null, valueMs: limitMs },
    () => undefined,
  );
  incumbent.raise(boundMs);
}

/** Is there a plan within `limitMs`, and which? `fewest`: with as few nodes as can be. */
function probeExact(space: StateSpace, limits: StateLimits, limitMs: number, fewest: boolean): Found | null {
  const { maxNodes, deadline } = limits;
  const strict = probeLongest(space, { limitMs, maxNodes, relaxed: false, fewest, deadline });
  if ((strict !== null && !fewest) || isLongestExact(space, limitMs)) return strict;
  const relaxed = probeLongest(space, { limitMs, maxNodes, relaxed: true, fewest, deadline });
  if (relaxed === null || relaxed.nodes === strict?.nodes) return strict;
  return probeReachable(space, { limitMs, maxNodes, fewest, deadline }) ?? strict;
}

/** Whether keeping only the longest prefix loses nothing; `probeLongest` says why. */
function isLongestExact(space: StateSpace, limitMs: number): boolean {
  const { kinds } = space;
  const { instance } = kinds;
  const nodes = kinds.members.map((_, kind) => kinds.node(kind));
  if (nodes.some((node) => instance.node(node).tableMs !== null)) return false;
  if (classifyLinks(space, limitMs).free) return true;
  return nodes.every((node) =>
    reachEnds(instance, node, limitMs).every((end, first) => end > first || first === instance.units),
  );
}

/** Whether the exact test of every limit fits the memory. */
export function fitsMemory(space: StateSpace): boolean {
  const words = (space.kinds.instance.units >>> 5) + 1;
  return space.size * space.kinds.size * words <= WORDS_MAX || space.kinds.instance.uniformLinks;
}

/** Period of a plan of one node each, in pieces of kinds. */
export function periodOf(kinds: Kinds, pieces: readonly Piece[]): number {
  return pieces.reduce((worst, piece, index) => {
    const stageMs = kinds.instance.stageMs(kinds.node(piece.node), piece.first, piece.end);
    const next = pieces[index + 1];
    return Math.max(worst, stageMs, next === undefined ? 0 : kinds.occupyMs(piece.node, next.node));
  }, 0);
}
