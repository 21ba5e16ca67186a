import { describe, expect, it } from "vitest";
import { holdAgainstGoals } from "./goals.ts";
import { judge } from "./judge.ts";
import { correlateRanks, estimateMean } from "./statistics.ts";
import type { RunFigures } from "./types.ts";

const figures = (tokensPerSec: number, ttftMs = 100, itlMs = 10): RunFigures => ({
  tokensPerSec,
  ttftMs,
  itlMs,
  stages: [],
});

describe("estimating a mean", () => {
  it("gives Student's interval", () => {
    const { mean, low, high } = estimateMean([9, 10, 11]);
    expect(mean).toBe(10);
    // t(0.975, 2) = 4.303, standard error 1 / sqrt(3)
    expect(high - 10).toBeCloseTo(4.303 / Math.sqrt(3), 9);
    expect(10 - low).toBeCloseTo(high - 10, 9);
  });

  it("has no interval of one value", () => {
    expect(estimateMean([7])).toEqual({ mean: 7, low: 7, high: 7 });
  });
});

describe("correlating ranks", () => {
  it("is 1 for the same order, -1 for the other way round, and shares ties", () => {
    expect(correlateRanks([1, 5, 9], [10, 11, 40])).toBeCloseTo(1, 12);
    expect(correlateRanks([1, 5, 9], [40, 11, 10])).toBeCloseTo(-1, 12);
    expect(correlateRanks([1, 2, 2, 3], [1, 2, 3, 4])).toBeCloseTo(Math.sqrt(0.9), 12);
    expect(correlateRanks([1, 1], [3, 4])).toBe(0);
  });
});

describe("judging predictions", () => {
  it("counts errors by sign, and what choosing by the prediction costs", () => {
    const judgement = judge([
      { predicted: figures(110, 90, 10), measured: [figures(100), figures(100)] },
      { predicted: figures(108, 100, 10), measured: [figures(120), figures(120)] },
    ]);
    expect(judgement.plans[0]?.tokensPerSec.error.mean).toBeCloseTo(0.1, 12);
    expect(judgement.plans[1]?.tokensPerSec.error.mean).toBeCloseTo(-0.1, 12);
    expect(judgement.errors.tokensPerSec.meanAbsolute).toBeCloseTo(0.1, 12);
    expect(judgement.errors.tokensPerSec.meanSigned).toBeCloseTo(0, 12);
    expect(judgement.errors.ttftMs.maxAbsolute).toBeCloseTo(0.1, 12);
    expect(judgement.regret).toBeCloseTo(1 - 100 / 120, 12);
    expect(judgement.rankCorrelation).toBeCloseTo(-1, 12);
    expect(holdAgainstGoals(judgement).map(({ met }) => met)).toEqual([false, false, true, true, false, false]);
  });

  it("gives the error's interval the other way round than that of the measurement", () => {
    const [plan] = judge([{ predicted: figures(100), measured: [figures(90), figures(100), figures(110)] }]).plans;
    const error = plan?.tokensPerSec.error;
    expect(error?.low).toBeLessThan(0);
    expect(error?.high).toBeGreaterThan(0);
    expect(error?.mean).toBeCloseTo(0, 12);
  });
});
