import { describe, expect, it } from "vitest";
import { describeMachine, type MeasuredSteps } from "./describe-machine.ts";
import { readMachine } from "./machine.ts";

const RATES = { memoryGbPerS: 20, computeGflops: 123.456, computeRows: 256 };
const ENGINE = { build: "b", variant: "v" };
const CELL = { phase: "decode" as const, rows: 1, context: 0, outputRows: 1, stepMs: [], hookMs: [], outsideMs: [] };

function describeWith(stepOffMs: readonly number[], beyondCaches: boolean): ReturnType<typeof describeMachine> {
  const cells = [{ ...CELL, stepOffMs, otherMs: [], segments: [] }];
  const steps: MeasuredSteps = { cells, readBytes: 1e9, beyondCaches, threads: 2, weightType: "q4_0" };
  return describeMachine(readMachine(), RATES, ENGINE, steps);
}

describe("describeMachine", () => {
  it("takes the memory's rate from the test that only reads, or from the engine's steps where they are faster", () => {
    expect(describeWith([100], true).memory_gb_per_s).toBe(20);
    const faster = describeWith([25, 24, 90], true);
    expect(faster.memory_gb_per_s).toBe(40);
    expect(faster.memory_measured_by).not.toBe(describeWith([100], true).memory_measured_by);
  });

  it("does not take caches for memory", () => {
    expect(describeWith([1], false).memory_gb_per_s).toBe(20);
  });

  it("does without steps of one row", () => {
    expect(describeWith([], true).memory_gb_per_s).toBe(20);
  });
});
