import type { Kinds } from "../kinds.ts";

/** Kinds fit a mask of 32 bits with room to spare; more never fit the memory. */
const KINDS_MAX = 30;

/**
 * All ways to have used some nodes: one digit for each kind, from 0 to its count; a state is the number that the digits
 * make. With one node of each kind this is the set of used nodes as a bit mask.
 */
export interface StateSpace {
  readonly kinds: Kinds;
  readonly size: number;
  /** What one more node of the kind adds to the state. */
  readonly strides: Int32Array;
  readonly counts: Int32Array;
}

/** Null when there are more than `limit` states. */
export function openStateSpace(kinds: Kinds, limit: number): StateSpace | null {
  if (kinds.size > KINDS_MAX) return null;
  const strides = new Int32Array(kinds.size);
  const counts = new Int32Array(kinds.size);
  let size = 1;
  for (let kind = 0; kind < kinds.size; kind++) {
    counts[kind] = kinds.count(kind);
    strides[kind] = size;
    size *= kinds.count(kind) + 1;
    if (size > limit) return null;
  }
  return { kinds, size, strides, counts };
}

/** The digits of a state that only ever goes up by one. */
export class Odometer {
  readonly digits: Int32Array;
  /** Sum of the digits: nodes used. */
  used = 0;
  readonly #counts: Int32Array;

  constructor(space: StateSpace) {
    this.digits = new Int32Array(space.counts.length);
    this.#counts = space.counts;
  }

  advance(): void {
    for (let kind = 0; kind < this.digits.length; kind++) {
      const digit = this.digits[kind] as number;
      if (digit < (this.#counts[kind] as number)) {
        this.digits[kind] = digit + 1;
        this.used += 1;
        return;
      }
      this.digits[kind] = 0;
      this.used -= digit;
    }
  }
}

/** Digit of `kind` in `state`. */
export function digitOf(space: StateSpace, state: number, kind: number): number {
  return Math.floor(state / (space.strides[kind] as number)) % ((space.counts[kind] as number) + 1);
}

/** Kinds that may follow one another within a limit of time, kinds with the same followers made one class. */
export interface LinkClasses {
  readonly count: number;
  /** Class of each kind when it is the last. */
  readonly classOf: Int32Array;
  /** Of each class, a bit for each kind that may follow. */
  readonly followers: Int32Array;
  /** Every kind may follow every other. */
  readonly free: boolean;
}

export function classifyLinks(space: StateSpace, limitMs: number): LinkClasses {
  const { kinds, counts } = space;
  const all = 2 ** kinds.size - 1;
  const classOf = new Int32Array(kinds.size);
  const masks: number[] = [];
  for (let from = 0; from < kinds.size; from++) {
    let mask = 0;
    for (let to = 0; to < kinds.size; to++) {
      // A node alone in its kind never follows itself: its own bit must not tell it from others.
      const alone = from === to && counts[from] === 1;
      if (alone || kinds.occupyMs(from, to) <= limitMs) mask |= 1 << to;
    }
    const known = masks.indexOf(mask);
    classOf[from] = known === -1 ? masks.push(mask) - 1 : known;
  }
  return {
    count: masks.length,
    classOf,
    followers: Int32Array.from(masks),
    free: masks.length === 1 && masks[0] === all,
  };
}
