import { describe, expect, it } from "vitest";
import { estimateStepMs } from "./estimate.ts";

const FACTS = { weightsBytes: 1e9, kvBytesPerToken: 1e5 };
const ONE = { phase: "decode" as const, rows: 1, context: 0 };

describe("estimateStepMs", () => {
  it("knows nothing before anything was measured", () => {
    expect(estimateStepMs(ONE, [], FACTS)).toBeNull();
  });

  it("gives a measured cell its own time", () => {
    expect(estimateStepMs(ONE, [{ cell: ONE, stepMs: 12 }], FACTS)).toBe(12);
  });

  it("grows with rows and with context", () => {
    const measured = [{ cell: ONE, stepMs: 10 }];
    const estimate = (rows: number, context: number): number =>
      estimateStepMs({ ...ONE, rows, context }, measured, FACTS) ?? 0;
    expect(estimate(2, 0)).toBeGreaterThan(10);
    expect(estimate(16, 0)).toBeGreaterThan(estimate(2, 0));
    expect(estimate(16, 4096)).toBeGreaterThan(estimate(16, 0));
  });

  it("scales from the nearest cell of the same phase", () => {
    const prefill = { phase: "prefill" as const, rows: 64, context: 0 };
    const measured = [
      { cell: ONE, stepMs: 10 },
      { cell: prefill, stepMs: 1000 },
    ];
    const estimate = estimateStepMs({ ...prefill, rows: 128 }, measured, FACTS) ?? 0;
    expect(estimate).toBeGreaterThan(1500);
    expect(estimate).toBeLessThan(2500);
  });
});
