import { describe, expect, it } from "vitest";
import { countOutputRows, findNonFinite } from "./runs.ts";
import { mixSeed } from "./sampler.ts";
import type { RowRun } from "./types.ts";

const run = (slot: number, rows: number, position = 0): RowRun => ({ slot, rows, position, output: "last" });

describe("countOutputRows", () => {
  it("counts what leaves the last block", () => {
    expect([
      countOutputRows({ ...run(0, 5), output: "none" }),
      countOutputRows(run(0, 5)),
      countOutputRows({ ...run(0, 5), output: "all" }),
    ]).toEqual([0, 1, 5]);
  });
});

describe("findNonFinite", () => {
  it("finds NaN and both infinities, and nothing else", () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      expect(findNonFinite(Float32Array.of(0, -1e38, value))).toBe(2);
    expect(findNonFinite(Float32Array.of(0, -0, 3.4e38, -3.4e38, 1e-45))).toBe(-1);
  });
});

describe("mixSeed", () => {
  it("gives 32-bit seeds that differ from position to position, and never the library's sign for a random one", () => {
    const seeds = Array.from({ length: 2000 }, (_, position) => mixSeed(5, position));
    expect(new Set(seeds).size).toBe(2000);
    for (const seed of seeds) expect(seed >= 0 && seed < 0xffffffff && Number.isInteger(seed)).toBe(true);
  });
});
