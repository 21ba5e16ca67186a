import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { balance } from "./balance.ts";

const weightsAndSegments = fc
  .array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 9 })
  .chain((weights) => fc.tuple(fc.constant(weights), fc.integer({ min: 1, max: weights.length })));

function costOf(weights: readonly number[]): (first: number, end: number) => number {
  return (first, end) => weights.slice(first, end).reduce((sum, weight) => sum + weight, 0);
}

/** Every way to cut n items into so many runs. */
function* allSplits(n: number, segments: number, first = 0): Generator<{ first: number; end: number }[]> {
  if (segments === 1) {
    yield [{ first, end: n }];
    return;
  }
  for (let end = first + 1; end <= n - segments + 1; end++) {
    for (const rest of allSplits(n, segments - 1, end)) yield [{ first, end }, ...rest];
  }
}

describe("balance", () => {
  it("finds what trying every split finds: the smallest largest segment, then the least sum of squares", () => {
    fc.assert(
      fc.property(weightsAndSegments, ([weights, segments]) => {
        const cost = costOf(weights);
        const rate = (split: readonly { first: number; end: number }[]) => {
          const costs = split.map(({ first, end }) => cost(first, end));
          return { largest: Math.max(...costs), squares: costs.reduce((sum, c) => sum + c ** 2, 0) };
        };
        const bounds = Array.from({ length: weights.length + 1 }, (_, i) => i);
        const found = balance(bounds, segments, cost);
        const best = [...allSplits(weights.length, segments)]
          .map(rate)
          .sort((a, b) => a.largest - b.largest || a.squares - b.squares)[0];
        expect(found).not.toBeNull();
        expect(rate(found ?? [])).toEqual(best);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it("cuts at the given bounds only", () => {
    expect(balance([0, 3, 4], 2, costOf([1, 1, 1, 9]))).toEqual([
      { first: 0, end: 3 },
      { first: 3, end: 4 },
    ]);
  });

  it("finds nothing when there are fewer bounds than segments need, or a segment must not be", () => {
    expect(balance([0, 2], 2, costOf([1, 1]))).toBeNull();
    expect(balance([0, 1, 2], 2, (first) => (first === 0 ? Number.POSITIVE_INFINITY : 1))).toBeNull();
  });
});
