import { describe, expect, test } from "vitest";
import { describeRow } from "./describe-row.ts";
import {
  writeEventRow,
  writeLayerRows,
  writeLinkRow,
  writeNodeRow,
  writePlanRow,
  writeRequestRow,
  writeStepRow,
} from "./row-bodies.ts";
import type { LogRow } from "./schemas.ts";
import { type LogStream, nameSchema } from "./streams.ts";
import { makeEvent, makeStep } from "./testing.ts";

function words(stream: LogStream, body: object): string {
  const common = { schema: nameSchema(stream), seq: 0, mono_ns: 1, time_unix_ns: 2, run_id: "r", producer_id: "p" };
  return describeRow({ ...common, ...body } as LogRow);
}

const REQUEST = {
  requestId: "r1",
  monoNs: 2e10,
  promptTokens: 5,
  maxTokens: 9,
} as const;
const LAYER = {
  ...makeStep(7),
  stage: 1,
  nodeId: "w2",
  stepNs: 2_000_000,
  hookNs: 1000,
  arrivalNodeNs: 1,
  computeStartNodeNs: 2,
  computeEndNodeNs: 3,
  sentNodeNs: 4,
} as const;

describe("a row in words", () => {
  test("tells of a request that was accepted, with its prompt where it is there", () => {
    const start = { ...REQUEST, type: "start", prompt: 'say "hi"\n' } as const;
    expect(words("request", writeRequestRow(start, false))).toBe("r1 start, 5 prompt tokens, at most 9 more");
    expect(words("request", writeRequestRow(start, true))).toBe(
      'r1 start, 5 prompt tokens, at most 9 more: "say \\"hi\\"\\n"',
    );
  });

  test("tells of a request that failed before its first token", () => {
    const end = {
      ...REQUEST,
      type: "end",
      startMonoNs: 1e9,
      firstStepMonoNs: null,
      firstTokenMonoNs: null,
      generatedTokens: 0,
      interTokenNs: [],
      finishReason: null,
      errorCode: "PEER_DEAD",
      temperature: 0,
      seed: 0,
    } as const;
    expect(words("request", writeRequestRow(end, false))).toBe(
      "r1 failed with PEER_DEAD, 0 tokens in 19.00 s, no token",
    );
  });

  test("tells of a step that gives no token", () => {
    expect(
      words("step", writeStepRow({ ...makeStep(3), rows: 16, phase: "prefill", sampledRequestIds: [] })),
    ).toContain("step 1/3 prefill, 16 rows, context 13: ");
  });

  test("adds up what a stage looks like inside, by unit and by role", () => {
    const segment = { startNs: 0, nodes: 1 } as const;
    const [row] = writeLayerRows({
      ...LAYER,
      level: "role",
      segments: [
        { ...segment, unit: 3, role: "attention", durationNs: 500_000 },
        { ...segment, unit: 3, role: "mlp", durationNs: 700_000 },
        { ...segment, unit: 4, role: "attention", durationNs: 600_000 },
      ],
    });
    expect(words("layer", row ?? {})).toBe(
      "step 1/7 inside 1 w2, level role: 2.000 ms, of it 0.001 ms outside of what follows; units 3 1.200 ms, 4 0.600 ms; attention 1.100 ms, mlp 0.700 ms",
    );
  });

  test("says when a graph was read and not timed", () => {
    const [row] = writeLayerRows({ ...LAYER, level: "layer", segments: [] });
    expect(words("layer", row ?? {})).toContain("no times");
  });

  test("tells of links, nodes, plans and events", () => {
    const link = { from: "a", to: "b", rttNs: 250_000, payloadBytes: 64, clockOffsetNs: -5e6, clockUncertaintyNs: 1e5 };
    expect(words("link", writeLinkRow(link))).toBe(
      "a to b: 0.250 ms there and back with 64 bytes, clocks -5.000 ms apart (+-0.100 ms)",
    );
    expect(words("link", writeLinkRow({ ...link, clockOffsetNs: null, clockUncertaintyNs: null }))).not.toContain(
      "clocks",
    );
    const node = { nodeId: "n", name: "w", units: null, state: "lost", sessions: 0 };
    const sizes = { rssBytes: 2 ** 21, weightsBytes: 2 ** 20, kvBytes: 0, computeBytes: 0 };
    expect(words("node", writeNodeRow({ ...node, ...sizes }))).toContain("w (n) lost, units none, 0 sessions, 2.0 MiB");
    const stages = [
      { stage: 0, nodeId: "n", units: "0:3" },
      { stage: 1, nodeId: null, units: "3:6" },
    ];
    expect(words("plan", writePlanRow({ epoch: 2, split: "0:3,3:6", stages, reason: "lost w" }))).toBe(
      "plan 2: 0:3 on n, 3:6 on nobody (lost w)",
    );
    expect(words("event", writeEventRow(makeEvent("hello")))).toBe("info worker.joined w1: hello");
  });

  test("holds no character that steers a terminal or turns the direction of text", () => {
    expect(words("event", writeEventRow(makeEvent("a\u001b[31mb\u202ec\nd\u0007")))).toBe(
      "info worker.joined w1: a\\u{1b}[31mb\\u{202e}c\\u{a}d\\u{7}",
    );
  });
});
