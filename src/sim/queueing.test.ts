import { describe, expect, it } from "vitest";
import { generateWorkload } from "./generate-workload.ts";
import { runSimulation } from "./simulation.ts";
import { makeCluster, makePipeline } from "./testing.ts";

const REQUESTS = 5000;
const RUNS = 20;
/** Student's t, 19 degrees of freedom, 99.9% on both sides. */
const T = 3.883;
/** Requests of a run before the queue has forgotten how it began. */
const WARM = 500;

/** Mean time in the system of one-row requests that come at random, over independent runs. */
function measureSojourns(stageMs: readonly number[], load: number): number[] {
  const bottleneckMs = Math.max(...stageMs);
  const pipeline = makePipeline({ stages: stageMs, policy: { slots: 4, maxDecodeRows: 1 } });
  const cluster = makeCluster([pipeline]);
  return Array.from({ length: RUNS }, (_, run) => {
    const workload = generateWorkload({
      requests: REQUESTS,
      prompt: { type: "fixed", tokens: 1 },
      generated: { type: "fixed", tokens: 1 },
      arrivals: { type: "poisson", perSecond: (1000 * load) / bottleneckMs },
      seed: 1000 + run,
    });
    const { record } = runSimulation(cluster, workload);
    let total = 0;
    for (let i = WARM; i < REQUESTS; i++) total += (record.endedMs[i] ?? 0) - (record.arrivedMs[i] ?? 0);
    return total / (REQUESTS - WARM);
  });
}

/** How far the mean of the runs is from theory, in half widths of its confidence interval; and that half width. */
function compareMean(
  values: readonly number[],
  expected: number,
): { readonly distance: number; readonly half: number } {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  const half = T * Math.sqrt(variance / n);
  return { distance: Math.abs(mean - expected) / half, half: half / expected };
}

describe("queues in a simulation", () => {
  it("let requests wait as long as theory says of one server with random arrivals and fixed service (M/D/1)", () => {
    for (const load of [0.5, 0.8]) {
      const serviceMs = 10;
      const waitMs = (load * serviceMs) / (2 * (1 - load));
      const { distance, half } = compareMean(measureSojourns([serviceMs], load), waitMs + serviceMs);
      expect(distance).toBeLessThan(1);
      // The interval must be narrow enough to say something.
      expect(half).toBeLessThan(0.1);
    }
  });

  it("let requests wait in a tandem of fixed services as before its slowest one alone", () => {
    const load = 0.7;
    for (const stageMs of [
      [6, 10, 4],
      [10, 3, 9],
    ]) {
      const slowest = Math.max(...stageMs);
      const waitMs = (load * slowest) / (2 * (1 - load));
      const expected = waitMs + stageMs.reduce((sum, ms) => sum + ms, 0);
      const { distance, half } = compareMean(measureSojourns(stageMs, load), expected);
      expect(distance).toBeLessThan(1);
      expect(half).toBeLessThan(0.1);
    }
  });
});
