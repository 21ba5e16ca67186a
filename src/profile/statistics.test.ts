import { describe, expect, it } from "vitest";
import { median } from "../common/index.ts";
import { summarise } from "./statistics.ts";

describe("summarise", () => {
  it("gives mean, median, 95th percentile and deviation of plain samples", () => {
    const { n, mean, p50, p95, sd } = summarise([4, 1, 3, 2, 5]);
    expect({ n, mean, p50 }).toEqual({ n: 5, mean: 3, p50: 3 });
    expect(p95).toBeCloseTo(4.8);
    expect(sd).toBeCloseTo(Math.sqrt(2.5));
  });

  it("leaves out what something else held up, and nothing that was merely quick", () => {
    const usual = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01];
    expect(summarise([...usual, 9]).n).toBe(usual.length);
    expect(summarise([...usual, 9]).mean).toBeLessThan(1.02);
    expect(summarise([...usual, 0.2]).n).toBe(usual.length + 1);
  });

  it("keeps samples that are equal to the last bit beside a tiny difference", () => {
    expect(summarise([2, 2, 2, 2, 2, 2.001]).n).toBe(6);
  });

  it("keeps all of too few to tell what is usual", () => {
    expect(summarise([1, 1, 100]).n).toBe(3);
  });

  it("says zero of nothing and has no deviation of one", () => {
    expect(summarise([])).toEqual({ n: 0, mean: 0, p50: 0, p95: 0, sd: 0 });
    expect(summarise([7])).toEqual({ n: 1, mean: 7, p50: 7, p95: 7, sd: 0 });
  });
});

describe("median", () => {
  it("lies between the two middle samples of an even number", () => {
    expect(median([4, 1, 2, 3])).toBe(2.5);
  });
});
