import { describe, expect, it } from "vitest";
import { generateWorkload } from "./generate-workload.ts";
import { expectFactor, simulateSharing } from "./share-cores.ts";
import { simulate } from "./simulate.ts";
import { COORDINATOR, type SimCluster } from "./types.ts";

const STAGES = 3;

function makeCluster(): SimCluster {
  const stages = Array.from({ length: STAGES }, (_, index) => ({
    node: `n${index}`,
    first: index,
    end: index + 1,
    cost: { predictMs: () => 1 },
    bytesPerRow: 0,
    bytesPerFrame: 0,
    outputRowsOnly: false,
    kvBytesPerToken: 0,
  }));
  return {
    nodes: stages.map(({ node }) => ({ id: node })),
    links: [],
    pipelines: [
      {
        stages,
        contextTokens: 1024,
        kvTokens: null,
        window: 2,
        resultBytesPerFrame: 0,
        resultBytesPerRow: 0,
        openMs: 0,
        policy: {
          stages: STAGES,
          decodeInFlight: STAGES,
          maxDecodeRows: 1,
          prefillRows: 64,
          mixedPrefillRows: 16,
          slots: STAGES,
          determinism: "recorded",
          align: 1,
          pairFromCells: null,
        },
      },
    ],
  };
}

function makeWorkload(streams: number): ReturnType<typeof generateWorkload> {
  return generateWorkload({
    requests: streams,
    prompt: { type: "fixed", tokens: 1 },
    generated: { type: "fixed", tokens: 400 },
    arrivals: { type: "closed", streams },
  });
}

describe("stages that share cores", () => {
  it("take as long as alone while there are cores for all, or one computes at a time", () => {
    expect(expectFactor([1, 1], 1, 3)).toBe(1);
    expect(expectFactor([0, 0], 1, 2)).toBe(1);
    const alone = simulate(makeCluster(), makeWorkload(1)).throughput.tokens_per_s;
    const { document, factors } = simulateSharing(makeCluster(), makeWorkload(3), { cores: 3, threads: 1 });
    expect(new Set(factors.values())).toEqual(new Set([1]));
    expect(document).toEqual(simulate(makeCluster(), makeWorkload(3)));
    const one = simulateSharing(makeCluster(), makeWorkload(1), { cores: 2, threads: 1 });
    // A third of the time each: all three at once, were they independent, one time in 27.
    expect(one.document.throughput.tokens_per_s / alone).toBeGreaterThan(0.93);
  });

  it("take longer in proportion when all of them always compute", () => {
    expect(expectFactor([1, 1], 1, 2)).toBe(1.5);
    expect(expectFactor([1, 1, 1], 2, 2)).toBe(4);
    expect(expectFactor([0.5], 2, 2)).toBe(1.5);
    const free = simulate(makeCluster(), makeWorkload(3)).throughput.tokens_per_s;
    const { document } = simulateSharing(makeCluster(), makeWorkload(3), { cores: 2, threads: 1 });
    expect(document.throughput.tokens_per_s).toBeGreaterThan(free / 1.52);
    expect(document.throughput.tokens_per_s).toBeLessThan(free / 1.4);
  });

  it("work for their hops, too", () => {
    const hop = (from: string, to: string) => ({ from, to, latencyMs: 1, bytesPerMs: 1e9 });
    const cluster = {
      ...makeCluster(),
      links: [hop(COORDINATOR, "n0"), hop("n0", "n1"), hop("n1", "n2"), hop("n2", COORDINATOR)],
    };
    const free = simulate(cluster, makeWorkload(3)).throughput.tokens_per_s;
    const { document } = simulateSharing(cluster, makeWorkload(3), { cores: 1, threads: 1 });
    expect(document.throughput.tokens_per_s).toBeLessThan(0.7 * free);
  });

  it("are simulated the same way each time", () => {
    const run = (): unknown => simulateSharing(makeCluster(), makeWorkload(2), { cores: 1, threads: 1 }, { seed: 3 });
    expect(run()).toEqual(run());
  });
});
