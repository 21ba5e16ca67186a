/** Code points of one character: inclusive ranges, or all others. */
export interface CharElement {
  readonly kind: "char";
  /** Pairs: first and last code point. */
  readonly ranges: readonly number[];
  readonly negated: boolean;
}

export interface RuleElement {
  readonly kind: "rule";
  readonly rule: number;
}

export type GrammarElement = CharElement | RuleElement;

/**
 * A grammar in GBNF, ready to be followed: no rule is undefined, begins with itself, or can never end. Immutable, and
 * shared by whoever follows it.
 */
export interface Grammar {
  /** All alternatives behind one another; null ends one. */
  readonly elements: readonly (GrammarElement | null)[];
  /** For each rule, where its alternatives begin. */
  readonly rules: readonly (readonly number[])[];
  readonly root: number;
}

/** @returns whether some code point from `first` to `last` is one of the element's. */
export function matchesRange({ ranges, negated }: CharElement, first: number, last: number): boolean {
  let covered = false;
  for (let i = 0; i < ranges.length; i += 2) {
    const [from, to] = [ranges[i] as number, ranges[i + 1] as number];
    if (negated ? from <= first && last <= to : from <= last && first <= to) covered = true;
  }
  return covered !== negated;
}
