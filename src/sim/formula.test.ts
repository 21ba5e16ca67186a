import { must } from "../common/index.ts";
import { describe, expect, it } from "vitest";
import { Random } from "./random.ts";
import { runSimulation } from "./simulation.ts";
import { makeCluster, makePipeline } from "./testing.ts";
import { COORDINATOR, type SimLink } from "./types.ts";

interface Case {
  readonly stageMs: readonly number[];
  readonly hopMs: readonly { readonly latencyMs: number; readonly transferMs: number }[];
  readonly batches: number;
  readonly rows: number;
}

const GEN_TOKENS = 400;
/** Tokens until every stream decodes and the micro-batches are full. */
const SETTLED = 150;
const BYTES_PER_ROW = 1000;

function drawCase(random: Random): Case {
  const stages = random.integer(1, 7);
  const rows = random.integer(1, 4);
  return {
    rows,
    batches: random.integer(1, 2 * stages),
    stageMs: Array.from({ length: stages }, () => 1 + 9 * random.uniform()),
    hopMs: Array.from({ length: stages + 1 }, () => ({
      latencyMs: 5 * random.uniform(),
      transferMs: random.uniform() < 0.3 ? 12 * random.uniform() : random.uniform(),
    })),
  };
}

/** Mean time from token to token of each stream, once all of them decode. */
function simulateCase({ stageMs, hopMs, batches, rows }: Case): number[] {
  const streams = batches * rows;
  const pipeline = makePipeline({
    stages: stageMs,
    policy: { decodeInFlight: batches, maxDecodeRows: rows, slots: streams },
    bytesPerRow: BYTES_PER_ROW,
  });
  const names = [COORDINATOR, ...pipeline.stages.map(({ node }) => node), COORDINATOR];
  const links = hopMs.map(({ latencyMs, transferMs }, index): SimLink => {
    // A full micro-batch takes `transferMs`; the coordinator's own links carry next to nothing.
    const inner = index > 0 && index < stageMs.length;
    const bytesPerMs = inner ? (rows * BYTES_PER_ROW) / transferMs : 1e9;
    return { from: must(names[index], "node"), to: must(names[index + 1], "node"), latencyMs, bytesPerMs };
  });
  const times: number[][] = Array.from({ length: streams }, () => []);
  const requests = Array.from({ length: streams }, (_, i) => ({
    atMs: 0,
    promptTokens: 1,
    genTokens: GEN_TOKENS,
    client: `s${i}`,
  }));
  const observer = { onToken: (request: number, _: number, atMs: number) => times[request]?.push(atMs) };
  runSimulation(makeCluster([pipeline], { links }), { loop: "closed", requests }, { observer });
  return times.map((own) => {
    const [from, to] = [must(own[SETTLED], "token"), must(own.at(-50), "token")];
    return (to - from) / (own.length - 50 - SETTLED);
  });
}

describe("a simulation without noise", () => {
  it("gives max(T1, m B) from token to token, and m b / max(T1, m B) tokens in all, within 1%, over random pipelines", () => {
    const random = new Random(20261123, "pipelines");
    for (let round = 0; round < 60; round++) {
      const one = drawCase(random);
      const { stageMs, hopMs, batches, rows } = one;
      const inner = hopMs.slice(1, -1);
      const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
      const roundMs =
        sum(stageMs) + sum(hopMs.map(({ latencyMs }) => latencyMs)) + sum(inner.map(({ transferMs }) => transferMs));
      const periodMs = Math.max(...stageMs, ...inner.map(({ transferMs }) => transferMs));
      const expected = Math.max(roundMs, batches * periodMs);
      const measured = simulateCase(one);
      for (const itlMs of measured) expect(Math.abs(itlMs / expected - 1), JSON.stringify(one)).toBeLessThan(0.01);
      const tokensPerMs = sum(measured.map((itlMs) => 1 / itlMs));
      expect(Math.abs(tokensPerMs / ((batches * rows) / expected) - 1)).toBeLessThan(0.01);
    }
  });
});
