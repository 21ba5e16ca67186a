import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import type { SchedulePolicy } from "../schedule/index.ts";
import { generateWorkload } from "./generate-workload.ts";
import { Random } from "./random.ts";
import { simulate } from "./simulate.ts";
import { makeCluster, makePipeline } from "./testing.ts";
import type { SimCluster, StageCost, Workload } from "./types.ts";

function linear(baseMs: number, rowMs: number): StageCost {
  return { predictMs: (_phase, rows) => baseMs + rowMs * rows };
}

/** Any cluster and workload, with everything that can disturb them. */
function drawCase(seed: number): { readonly cluster: SimCluster; readonly workload: Workload } {
  const random = new Random(seed, "cases");
  const stages = Array.from({ length: random.integer(1, 5) }, () => linear(random.uniform() * 4, random.uniform()));
  const slots = random.integer(1, 9);
  const strict = random.uniform() < 0.3;
  const policy: Partial<SchedulePolicy> = {
    slots,
    decodeInFlight: random.integer(1, stages.length + 2),
    maxDecodeRows: 4 * random.integer(1, 2),
    prefillRows: random.integer(2, 32),
    mixedPrefillRows: random.integer(1, 8),
    determinism: strict ? "strict" : "recorded",
    align: strict ? random.integer(1, 4) : 1,
  };
  const contextTokens = 120;
  const pipeline = makePipeline({
    stages,
    policy,
    contextTokens,
    kvTokens: random.uniform() < 0.5 ? null : random.integer(60, 200),
    window: random.integer(1, 3),
    bytesPerRow: 100,
    openMs: random.uniform() < 0.5 ? 0 : 2,
  });
  const cluster = makeCluster([pipeline], {
    nodes: pipeline.stages.map(({ node }) => ({
      id: node,
      noise: random.uniform() * 0.2,
      slowdowns: [
        { atMs: 50, factor: 0.5 + 3 * random.uniform() },
        { atMs: 500, factor: 1 },
      ],
    })),
    defaultLink: { latencyMs: random.uniform(), bytesPerMs: 100 },
    incidents: [
      { type: "fail", atMs: 300, node: must(pipeline.stages.at(-1), "stage").node, detectMs: 40, pauseMs: 25 },
      {
        type: "plan",
        atMs: 900,
        pipelines: [pipeline],
        mode: must((["beside", "drain", "move"] as const)[seed % 3], "mode"),
        pauseMs: 10,
        keepKv: seed % 2 === 0,
      },
    ],
  });
  const workload = generateWorkload({
    requests: 40,
    prompt: { type: "uniform", min: 1, max: 90 },
    generated: { type: "lognormal", median: 12, sigma: 0.8, max: 60 },
    arrivals:
      random.uniform() < 0.5 ? { type: "closed", streams: random.integer(1, 12) } : { type: "poisson", perSecond: 30 },
    seed,
  });
  return { cluster, workload };
}

describe("a simulation", () => {
  it("ends every request once, gives each all its tokens in order, and computes no row twice but after a loss", () => {
    let refusedInAll = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const { cluster, workload } = drawCase(seed);
      const tokens = workload.requests.map(() => 0);
      const ends = workload.requests.map(() => 0);
      let lastMs = 0;
      const document = simulate(cluster, workload, {
        seed,
        observer: {
          onToken: (request, index, atMs) => {
            expect(index).toBe(tokens[request]);
            expect(atMs).toBeGreaterThanOrEqual(lastMs);
            lastMs = atMs;
            tokens[request] = index + 1;
          },
          onEnd: (request, _atMs, how) => {
            ends[request] = (ends[request] ?? 0) + 1;
            expect(tokens[request]).toBe(how === "finished" ? workload.requests[request]?.genTokens : 0);
          },
        },
      });
      expect(ends).toEqual(workload.requests.map(() => 1));
      const { finished, refused, generated_tokens, read_again, prompt_tokens } = document.requests;
      refusedInAll += refused;
      expect(finished + refused).toBe(workload.requests.length);
      expect(generated_tokens).toBe(tokens.reduce((sum, count) => sum + count, 0));
      for (const { tokens_peak, tokens_limit } of document.kv) expect(tokens_peak).toBeLessThanOrEqual(tokens_limit);
      for (const { busy_ratio } of document.stages) expect(busy_ratio).toBeLessThanOrEqual(1 + 1e-9);
      const rows = document.stages.filter(({ stage }) => stage === 0).reduce((sum, stage) => sum + stage.rows, 0);
      const needed = prompt_tokens + generated_tokens - finished;
      if (read_again === 0) expect(rows).toBe(needed);
      else expect(rows).toBeGreaterThanOrEqual(needed);
    }
    expect(refusedInAll).toBeGreaterThan(0);
  });

  it("gives the same events for the same seed, and others for another", () => {
    const { cluster, workload } = drawCase(3);
    const [a, b, c] = [5, 5, 6].map((seed) => simulate(cluster, workload, { seed }));
    expect(b).toEqual(a);
    expect(c?.event_hash).not.toBe(a?.event_hash);
  });

  it("gives the events that it always gave", () => {
    // Of every machine and release: a change of these says that simulations are no longer comparable with old ones.
    const pipeline = makePipeline({ stages: [2, 3], window: 2, policy: { slots: 3 }, bytesPerRow: 10 });
    const cluster = makeCluster([pipeline], {
      nodes: pipeline.stages.map(({ node }) => ({ id: node, noise: 0.1 })),
      links: [
        {
          from: "n0",
          to: "n1",
          latencyMs: 1,
          bytesPerMs: 50,
          jitterMs: 0.5,
          loss: { ratio: 0.02, burstMs: 20, retransmitMs: 30 },
        },
      ],
      incidents: [{ type: "fail", atMs: 200, node: "n1", detectMs: 20, pauseMs: 30 }],
    });
    const workload = generateWorkload({
      requests: 20,
      prompt: { type: "lognormal", median: 20, sigma: 0.5, max: 100 },
      generated: { type: "uniform", min: 2, max: 20 },
      arrivals: { type: "poisson", perSecond: 40 },
    });
    // One request at a time: what the schedule would choose otherwise may change without harm.
    const alone = { ...workload, loop: "closed" as const };
    expect(simulate(cluster, alone, { seed: 7 }).event_hash).toBe("defcd626fc7568ed");
  });

  it("is never slower with a faster node or link, without noise and with one micro-batch after another", () => {
    const random = new Random(9, "faster");
    for (let round = 0; round < 40; round++) {
      const stageMs = Array.from({ length: random.integer(2, 5) }, () => 1 + 5 * random.uniform());
      const latencyMs = 3 * random.uniform();
      const measure = (times: readonly number[], way: number): number => {
        const pipeline = makePipeline({
          stages: times,
          policy: { slots: 3, decodeInFlight: 3, maxDecodeRows: 1, mixedPrefillRows: 16 },
        });
        const workload = generateWorkload({
          requests: 3,
          prompt: { type: "fixed", tokens: 16 },
          generated: { type: "fixed", tokens: 60 },
          arrivals: { type: "closed", streams: 3 },
        });
        const cluster = makeCluster([pipeline], { defaultLink: { latencyMs: way, bytesPerMs: 1e6 } });
        return simulate(cluster, workload).throughput.tokens_per_s;
      };
      const before = measure(stageMs, latencyMs);
      const place = random.integer(0, stageMs.length - 1);
      const faster = stageMs.map((ms, i) => (i === place ? ms * random.uniform() : ms));
      expect(measure(faster, latencyMs)).toBeGreaterThanOrEqual(before * (1 - 1e-9));
      expect(measure(stageMs, latencyMs * random.uniform())).toBeGreaterThanOrEqual(before * (1 - 1e-9));
    }
  });
});
