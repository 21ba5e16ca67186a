import { NoodleError } from "../common/index.ts";

/** A set of code points: inclusive ranges, sorted, not touching. */
export type CharRanges = readonly (readonly [number, number])[];

export const MAX_CODE_POINT = 0x10ffff;

/**
 * Rules in the engine's own form: repetitions are written out as rules, groups are rules, and all elements lie in one
 * row, so that a place in the grammar is a number and the place behind it is the next one.
 */
export interface Grammar {
  readonly elements: readonly GrammarElement[];
  readonly rules: readonly GrammarRule[];
  readonly root: number;
}

export type GrammarElement =
  | { readonly type: "chars"; readonly ranges: CharRanges }
  | { readonly type: "rule"; readonly rule: number }
  /** End of an alternative. */
  | { readonly type: "end" };

export interface GrammarRule {
  readonly name: string;
  /** Places of the first element of each alternative. */
  readonly starts: readonly number[];
}

export function failGrammar(message: string, details: Readonly<Record<string, unknown>> = {}): never {
  throw new NoodleError("GRAMMAR_INVALID", message, { details });
}

/** Sorts and joins. */
export function joinRanges(ranges: Iterable<readonly [number, number]>): [number, number][] {
  const joined: [number, number][] = [];
  for (const [first, last] of [...ranges].toSorted((a, b) => a[0] - b[0])) {
    const previous = joined.at(-1);
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else joined.push([first, last]);
  }
  return joined;
}

/** @param ranges sorted, as `joinRanges` gives them */
export function invertRanges(ranges: CharRanges): [number, number][] {
  const inverted: [number, number][] = [];
  let next = 0;
  for (const [first, last] of ranges) {
    if (first > next) inverted.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= MAX_CODE_POINT) inverted.push([next, MAX_CODE_POINT]);
  return inverted;
}

export function rangesMeet(a: CharRanges, b: CharRanges): boolean {
  return a.some(([first, last]) => b.some(([otherFirst, otherLast]) => first <= otherLast && otherFirst <= last));
}

/** Whether some code point from `first` to `last` is one of the set. */
export function rangesHold(ranges: CharRanges, first: number, last: number = first): boolean {
  for (const [from, to] of ranges) if (from <= last && first <= to) return true;
  return false;
}
