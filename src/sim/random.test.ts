import { describe, expect, it } from "vitest";
import { expOf, logOf } from "./elementary.ts";
import { Random } from "./random.ts";

const COUNT = 40_000;

function draw(make: (random: Random) => number): { readonly mean: number; readonly variance: number } {
  const random = new Random(42, "test");
  const values = Array.from({ length: COUNT }, () => make(random));
  const mean = values.reduce((sum, value) => sum + value, 0) / COUNT;
  return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (COUNT - 1) };
}

/** Four standard errors of a mean. */
function errorOf(variance: number): number {
  return 4 * Math.sqrt(variance / COUNT);
}

describe("elementary functions", () => {
  it("agree with the engine's own to a few units of the last place", () => {
    for (let i = -300; i <= 300; i++) {
      const x = Math.exp(i / 10) * (1 + (i % 7) / 9);
      expect(Math.abs(logOf(x) - Math.log(x))).toBeLessThanOrEqual(4e-16 * Math.max(1, Math.abs(Math.log(x))));
      expect(Math.abs(expOf(i / 10) / Math.exp(i / 10) - 1)).toBeLessThan(2e-14);
    }
  });
});

describe("Random", () => {
  it("gives the same numbers for the same seed and purpose, and others for another", () => {
    const [a, b, c, d] = (
      [
        [1, "x"],
        [1, "x"],
        [2, "x"],
        [1, "y"],
      ] as const
    ).map(([seed, stream]) => {
      const random = new Random(seed, stream);
      return Array.from({ length: 20 }, () => random.uniform());
    });
    expect(b).toEqual(a);
    expect(c).not.toEqual(a);
    expect(d).not.toEqual(a);
    expect(new Set(a).size).toBe(20);
  });

  it("gives the numbers that it always gave", () => {
    const random = new Random(7, "fixed");
    expect([random.integer(0, 2 ** 32 - 1), random.normal(), random.exponential(3)]).toEqual([
      2503970068, -0.08400378072000023, 0.4035506202331838,
    ]);
  });

  it("has the mean and the variance that theory says", () => {
    const uniform = draw((random) => random.uniform());
    expect(Math.abs(uniform.mean - 0.5)).toBeLessThan(errorOf(1 / 12));
    expect(Math.abs(uniform.variance * 12 - 1)).toBeLessThan(0.03);
    const normal = draw((random) => random.normal());
    expect(Math.abs(normal.mean)).toBeLessThan(errorOf(1));
    expect(Math.abs(normal.variance - 1)).toBeLessThan(0.04);
    const exponential = draw((random) => random.exponential(5));
    expect(Math.abs(exponential.mean - 5)).toBeLessThan(errorOf(25));
    expect(Math.abs(exponential.variance / 25 - 1)).toBeLessThan(0.08);
    const sigma = 0.3;
    const variance = Math.exp(sigma * sigma) - 1;
    const lognormal = draw((random) => random.lognormal(sigma));
    expect(Math.abs(lognormal.mean - 1)).toBeLessThan(errorOf(variance));
    expect(Math.abs(lognormal.variance / variance - 1)).toBeLessThan(0.08);
    const integer = draw((random) => random.integer(3, 6));
    expect(Math.abs(integer.mean - 4.5)).toBeLessThan(errorOf(1.25));
  });
});
