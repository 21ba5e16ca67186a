import type { Deadline } from "../deadline.ts";
import type { Piece } from "../instance.ts";
import { reachEnds } from "../reach.ts";
import { classifyLinks, digitOf, Odometer, type LinkClasses, type StateSpace } from "./state-space.ts";

export interface ProbeOptions {
  readonly limitMs: number;
  /** Nodes that a plan may use at most. */
  readonly maxNodes: number;
  /** A stage may be empty: what is impossible then is impossible. Without it: what is found is a plan. */
  readonly relaxed: boolean;
  /** Go on after the first plan until the fewest nodes are known. */
  readonly fewest: boolean;
  readonly deadline: Deadline;
}

export interface Found {
  /** Pieces of kinds. */
  readonly pieces: readonly Piece[];
  readonly nodes: number;
}

/** Often enough to stop in time, seldom enough to cost nothing. */
const CHECK_EVERY = 4096;

/**
 * Is there a plan within a limit of time for every stage and hop? For each state and class of the last node only the
 * longest prefix of units is kept.
 *
 * Keeping the longest is exact when every hop is within the limit (a stage that becomes empty is dropped), or when every
 * node can serve every unit (none becomes empty). Otherwise the truth lies between `relaxed` and not.
 */
export function probeLongest(space: StateSpace, options: ProbeOptions): Found | null {
  const { kinds, strides, counts, size } = space;
  const { limitMs, maxNodes, relaxed, fewest, deadline } = options;
  const { units } = kinds.instance;
  const classes = classifyLinks(space, limitMs);
  const ends = kinds.members.map((_, kind) => {
    const exact = reachEnds(kinds.instance, kinds.node(kind), limitMs);
    return relaxed ? raisePrefixes(exact) : exact;
  });
  const prefixes = new Int16Array(size * classes.count).fill(-1);
  const odometer = new Odometer(space);
  // Classes that are reached in a state, the longest prefix first: the first that allows a kind is the best for it.
  const reached = new Int32Array(classes.count);
  let best: { state: number; kind: number; from: number; nodes: number } | null = null;
  for (let state = 0; state < size; state++, odometer.advance()) {
    if (state % CHECK_EVERY === 0) deadline.check();
    if (odometer.used >= (best === null ? maxNodes : Math.min(maxNodes, best.nodes - 1))) continue;
    const row = state * classes.count;
    const reachedCount = state === 0 ? 0 : sortReached(prefixes, row, reached);
    if (state > 0 && reachedCount === 0) continue;
    for (let kind = 0; kind < counts.length; kind++) {
      if ((odometer.digits[kind] as number) >= (counts[kind] as number)) continue;
      let from = state === 0 ? 0 : -1;
      for (let at = 0; at < reachedCount; at++) {
        const c = reached[at] as number;
        if (((classes.followers[c] as number) >>> kind) & 1) {
          from = prefixes[row + c] as number;
          break;
        }
      }
      if (from < 0) continue;
      const end = (ends[kind] as Int16Array)[from] as number;
      if (end === from && !relaxed) continue;
      if (end === units) {
        best = { state, kind, from, nodes: odometer.used + 1 };
        if (!fewest) return describeFound(space, classes, ends, prefixes, best);
        continue;
      }
      const to = (state + (strides[kind] as number)) * classes.count + (classes.classOf[kind] as number);
      if (end > (prefixes[to] as number)) prefixes[to] = end;
    }
  }
  return best === null ? null : describeFound(space, classes, ends, prefixes, best);
}

/** Writes the classes with a prefix to `reached`, by falling prefix. @returns how many */
function sortReached(prefixes: Int16Array, row: number, reached: Int32Array): number {
  let count = 0;
  for (let c = 0; c < reached.length; c++) {
    const prefix = prefixes[row + c] as number;
    if (prefix < 0) continue;
    let at = count++;
    while (at > 0 && (prefixes[row + (reached[at - 1] as number)] as number) < prefix) {
      reached[at] = reached[at - 1] as number;
      at--;
    }
    reached[at] = c;
  }
  return count;
}

/** From a longer prefix a table may get less far than from a shorter one; a bound must not. */
function raisePrefixes(ends: Int16Array): Int16Array {
  let highest = 0;
  return ends.map((end) => {
    highest = Math.max(highest, end);
    return highest;
  });
}

/** Walks back from the last piece, finding at each step one that led there. Relaxed stages that are empty are left out. */
function describeFound(
  space: StateSpace,
  classes: LinkClasses,
  ends: readonly Int16Array[],
  prefixes: Int16Array,
  last: { state: number; kind: number; from: number; nodes: number },
): Found {
  const { kinds, strides } = space;
  const pieces: Piece[] = [{ node: last.kind, first: last.from, end: kinds.instance.units }];
  let { state, kind: next, from: wanted } = last;
  while (state > 0) {
    const step = findStep(space, classes, ends, prefixes, state, next, wanted);
    if (step.from < wanted) pieces.unshift({ node: step.kind, first: step.from, end: wanted });
    state -= strides[step.kind] as number;
    next = step.kind;
    wanted = step.from;
  }
  return { pieces, nodes: last.nodes };
}

function findStep(
  space: StateSpace,
  classes: LinkClasses,
  ends: readonly Int16Array[],
  prefixes: Int16Array,
  state: number,
  next: number,
  wanted: number,
): { kind: number; from: number } {
  for (const [kind, stride] of space.strides.entries()) {
    if (digitOf(space, state, kind) === 0) continue;
    if ((((classes.followers[classes.classOf[kind] as number] as number) >>> next) & 1) === 0) continue;
    const before = state - stride;
    let from = before === 0 ? 0 : -1;
    for (let c = before > 0 ? 0 : classes.count; c < classes.count; c++) {
      if (((classes.followers[c] as number) >>> kind) & 1) {
        from = Math.max(from, prefixes[before * classes.count + c] as number);
      }
    }
    if (from >= 0 && (ends[kind] as Int16Array)[from] === wanted) return { kind, from };
  }
  throw new RangeError(`no step leads to ${wanted} units in state ${state}`);
}
