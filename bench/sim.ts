import { median, quantile } from "../src/common/index.ts";
import { generateWorkload, type SimCluster, type SimStage, simulate } from "../src/sim/index.ts";
import type { BenchContext } from "./lib.ts";

const bench = "sim";
const STAGES = 16;
const STREAMS = 128;
const REQUESTS = 10_000;
const EVENTS_PER_S = 1e6;
const TIMES_REAL_TIME = 1000;

/**
 * A sixteenth of a model of 1B parameters in Q4_0 on two cores: a decode row alone 1 ms, eight of them 3.2 ms, a prompt's
 * row 0.3 ms.
 */
const ONE_B: SimStage["cost"] = {
  predictMs: (phase, rows, context) =>
    0.1 + (phase === "decode" ? 0.6 + 0.3 * rows : 0.3 * rows) + 1e-5 * rows * context,
};

/** How fast the simulator is: 10,000 requests of 128 + 64 tokens over 16 stages, 128 of them at a time. */
export async function benchSim(context: BenchContext): Promise<void> {
  const cluster = makeCluster();
  const workload = generateWorkload({
    requests: REQUESTS,
    prompt: { type: "fixed", tokens: 128 },
    generated: { type: "fixed", tokens: 64 },
    arrivals: { type: "closed", streams: STREAMS },
  });
  const eventsPerS: number[] = [];
  const timesRealTime: number[] = [];
  const hashes = new Set<string>();
  // The first run is the compiler's.
  for (let repetition = -1; repetition < context.repetitions; repetition++) {
    const startMs = performance.now();
    const { events, simulated_ms: simulatedMs, event_hash: hash } = simulate(cluster, workload);
    const tookMs = performance.now() - startMs;
    hashes.add(hash);
    if (repetition < 0) continue;
    eventsPerS.push((1000 * events) / tookMs);
    timesRealTime.push(simulatedMs / tookMs);
    context.record({
      bench,
      subject: "simulate",
      metric: "events_per_s",
      unit: "1/s",
      value: (1000 * events) / tookMs,
      repetition,
    });
    context.record({
      bench,
      subject: "simulate",
      metric: "times_real_time",
      unit: "1",
      value: simulatedMs / tookMs,
      repetition,
    });
  }
  if (hashes.size !== 1) throw new Error(`the same seed gave ${hashes.size} different event logs`);
  conclude(context, "events per second", eventsPerS, EVENTS_PER_S);
  conclude(context, "times real time", timesRealTime, TIMES_REAL_TIME);
}

function makeCluster(): SimCluster {
  const stages = Array.from({ length: STAGES }, (_, index) => ({
    node: `n${index}`,
    first: index,
    end: index + 1,
    cost: ONE_B,
    bytesPerRow: index === 0 ? 64 : 4 * 2048 + 64,
    bytesPerFrame: 0,
    outputRowsOnly: false,
    kvBytesPerToken: 2048,
  }));
  return {
    nodes: stages.map(({ node }) => ({ id: node, noise: 0.03 })),
    links: [],
    defaultLink: { latencyMs: 0.3, bytesPerMs: 125_000 },
    pipelines: [
      {
        stages,
        contextTokens: 256,
        kvTokens: null,
        window: 2,
        resultBytesPerFrame: 0,
        resultBytesPerRow: 64,
        openMs: 0.6,
        policy: {
          stages: STAGES,
          decodeInFlight: STAGES,
          maxDecodeRows: 8,
          prefillRows: 128,
          mixedPrefillRows: 64,
          slots: STREAMS,
          determinism: "recorded",
          align: 1,
          pairFromCells: null,
        },
      },
    ],
  };
}

function conclude(context: BenchContext, name: string, values: readonly number[], least: number): void {
  const ratios = values.map((value) => value / least);
  const ratio = median(ratios);
  context.conclude({
    bench,
    name,
    subject: "simulate",
    baseline: `the goal of ${least}`,
    ratio,
    low: quantile(ratios, 0),
    high: quantile(ratios, 1),
    goal: ">= 1",
    met: ratio >= 1,
  });
}
