import type { Deadline } from "../deadline.ts";
import type { Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";
import { reachEnds } from "../reach.ts";
import { periodOf } from "../states/period.ts";

/** Stages walked over in one search: the same on every machine. */
const STEPS_MAX = 6e6;

/**
 * Betters a plan's period by small changes: another node for a stage, two stages exchanged, a stage moved, put in or left
 * out; the cuts follow from the order. Ends when no change helps, or after a fixed amount of work.
 */
export function improvePeriod(
  kinds: Kinds,
  start: readonly Piece[],
  maxNodes: number,
  deadline: Deadline,
): readonly Piece[] {
  let plan = start;
  let steps = 0;
  for (;;) {
    const limitMs = periodOf(kinds, plan) * (1 - 1e-9);
    const ends = kinds.members.map((_, kind) => {
      deadline.check();
      return reachEnds(kinds.instance, kinds.node(kind), limitMs);
    });
    let better: readonly Piece[] | null = null;
    for (const order of listChanges(
      kinds,
      plan.map((piece) => piece.node),
    )) {
      if (order.length > maxNodes) continue;
      steps += order.length;
      if (steps > STEPS_MAX) return plan;
      if ((steps & 0xfff) < order.length) deadline.check();
      better = walk(kinds, order, ends, limitMs);
      if (better !== null) break;
    }
    if (better === null) return plan;
    plan = better;
  }
}

/** Serves as many units as it can at each stage, in the given order; null when the limit does not allow it. */
function walk(
  kinds: Kinds,
  order: readonly number[],
  ends: readonly Int16Array[],
  limitMs: number,
): readonly Piece[] | null {
  const { units } = kinds.instance;
  let at = 0;
  const pieces: Piece[] = [];
  for (const kind of order) {
    const end = (ends[kind] as Int16Array)[at] as number;
    if (end === at) continue;
    const last = pieces.at(-1);
    if (last !== undefined && kinds.occupyMs(last.node, kind) > limitMs) return null;
    pieces.push({ node: kind, first: at, end });
    at = end;
    if (at === units) return pieces;
  }
  return null;
}

function* listChanges(kinds: Kinds, order: readonly number[]): Generator<readonly number[]> {
  const uses = new Map<number, number>();
  for (const kind of order) uses.set(kind, (uses.get(kind) ?? 0) + 1);
  const spare: number[] = [];
  for (let kind = 0; kind < kinds.size; kind++) if ((uses.get(kind) ?? 0) < kinds.count(kind)) spare.push(kind);
  yield order;
  for (let at = 0; at < order.length; at++) yield order.toSpliced(at, 1);
  for (let a = 0; a < order.length; a++) {
    for (let b = a + 1; b < order.length; b++) {
      yield order.with(a, order[b] as number).with(b, order[a] as number);
      const moved = order.toSpliced(a, 1);
      yield moved.toSpliced(b, 0, order[a] as number);
      yield order.toSpliced(b, 1).toSpliced(a, 0, order[b] as number);
    }
  }
  for (let at = 0; at <= order.length; at++) {
    for (const kind of spare) {
      yield order.toSpliced(at, 0, kind);
      if (at < order.length) yield order.with(at, kind);
    }
  }
}
