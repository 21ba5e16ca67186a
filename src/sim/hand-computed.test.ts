import { describe, expect, it } from "vitest";
import type { ServiceSlice } from "./observer.ts";
import { simulate } from "./simulate.ts";
import { makeCluster, makePipeline } from "./testing.ts";
import { COORDINATOR, type SimLink, type StageCost } from "./types.ts";

/** 2 ms and 1 ms a row; 3 ms and 0.5 ms a row. */
const FIRST: StageCost = { predictMs: (_phase, rows) => 2 + rows };
const SECOND: StageCost = { predictMs: (_phase, rows) => 3 + 0.5 * rows };

const LINKS: readonly SimLink[] = [
  { from: COORDINATOR, to: "n0", latencyMs: 1, bytesPerMs: 1e6 },
  { from: "n0", to: "n1", latencyMs: 2, bytesPerMs: 100 },
  { from: "n1", to: "n0", latencyMs: 2, bytesPerMs: 100 },
  { from: "n1", to: COORDINATOR, latencyMs: 3, bytesPerMs: 1e6 },
];

function runTwoNodes(genTokens: readonly number[]) {
  const pipeline = makePipeline({
    stages: [FIRST, SECOND],
    policy: { slots: 2, decodeInFlight: 1, prefillRows: 4, mixedPrefillRows: 4 },
    bytesPerRow: 50,
    window: 2,
  });
  const slices: ServiceSlice[] = [];
  const tokens: [number, number, number][] = [];
  const document = simulate(
    makeCluster([pipeline], { links: LINKS }),
    {
      loop: "closed",
      requests: genTokens.map((count, i) => ({ atMs: 0, promptTokens: 6, genTokens: count, client: `c${i}` })),
    },
    {
      observer: {
        onService: (slice) => slices.push(slice),
        onToken: (request, index, atMs) => tokens.push([request, index, atMs]),
      },
    },
  );
  const trace = (stage: number) =>
    slices
      .filter((slice) => slice.stage === stage)
      .map(({ startMs, endMs, phase, rows }) => [startMs, endMs, phase, rows]);
  return { document, tokens, first: trace(0), second: trace(1) };
}

describe("a request on two nodes", () => {
  it("is computed and sent at the times that a person finds by hand", () => {
    const { document, tokens, first, second } = runTwoNodes([3]);
    // The prompt leaves as 4 rows and 2 rows; both may be on their way (window 2).
    expect(first).toEqual([
      [1, 7, "prefill", 4], // 1 ms of way, 2 + 4
      [7, 11, "prefill", 2], // waits for the first, 2 + 2
      [24, 27, "decode", 1], // the first token came at 23
      [37, 40, "decode", 1],
    ]);
    expect(second).toEqual([
      [11, 16, "prefill", 4], // 200 bytes take 2 ms, 2 ms of way: 7 + 4; 3 + 2
      [16, 20, "prefill", 2], // came at 11 + 1 + 2 = 14; 3 + 1
      [29.5, 33, "decode", 1], // 27 + 0.5 + 2; 3 + 0.5
      [42.5, 46, "decode", 1],
    ]);
    // 3 ms of way back; the next row then leaves at once.
    expect(tokens).toEqual([
      [0, 0, 23],
      [0, 1, 36],
      [0, 2, 49],
    ]);
    expect(document.ttft_ms?.mean).toBe(23);
    expect(document.ttft_computed_ms?.mean).toBe(20);
    expect(document.itl_ms).toMatchObject({ n: 2, mean: 13, p50: 13, max: 13 });
    expect(document.e2e_ms?.mean).toBe(49);
    expect(document.simulated_ms).toBe(49);
    expect(document.stages.map(({ busy_ms }) => busy_ms)).toEqual([6 + 4 + 3 + 3, 5 + 4 + 3.5 + 3.5]);
    expect(document.links.find(({ from, to }) => from === "n0" && to === "n1")).toMatchObject({
      messages: 4,
      bytes: 50 * (4 + 2 + 1 + 1),
    });
    // 6 rows of the prompt and the first two tokens; the last is never computed.
    expect(document.kv).toEqual([{ pipeline: 0, tokens_peak: 8, tokens_limit: 8192 }]);
  });

  it("waits for room on the hop when the next stage is slow", () => {
    const pipeline = makePipeline({
      stages: [1, 10],
      policy: { slots: 1, prefillRows: 1, mixedPrefillRows: 1, decodeInFlight: 1 },
      window: 1,
    });
    const starts: number[] = [];
    simulate(
      makeCluster([pipeline]),
      { loop: "closed", requests: [{ atMs: 0, promptTokens: 4, genTokens: 1, client: "c" }] },
      { observer: { onService: ({ stage, startMs }) => stage === 0 && starts.push(startMs) } },
    );
    // The second chunk is computed at 2 and held until the first has passed the second stage at 11; only then is there
    // room for the third, and so on.
    expect(starts).toEqual([0, 1, 11, 21]);
  });
});
