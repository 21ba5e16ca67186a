import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { must } from "../common/index.ts";
import type { ClusterObserver } from "../observe/index.ts";
import { OBSERVE_LEVELS, ROLE_GROUPS, ROLES } from "../observe/index.ts";
import { foldLogs } from "./fold-logs.ts";
import { LogObserver } from "./log-observer.ts";
import { readLog } from "./read-log.ts";
import { hashPlan, MAX_INTER_TOKEN_GAPS, MAX_PROMPT_CHARS, MAX_SEGMENTS_PER_ROW } from "./row-bodies.ts";
import type { LogVisitor } from "./row-records.ts";
import { LOG_SCHEMAS, type LogRow } from "./schemas.ts";
import { LOG_STREAMS } from "./streams.ts";
import { makeStep, openWriter, readFolder } from "./testing.ts";

type Method = keyof ClusterObserver;

interface Told {
  readonly method: Method;
  readonly record: unknown;
}

const count = fc.nat();
const ns = fc.maxSafeNat();
const words = fc.string({ unit: "binary", maxLength: 30 });
const orNull = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(value, { nil: null });
const json = fc.dictionary(words, fc.oneof(words, count, fc.boolean(), fc.constant(null), fc.array(words)));
const list = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(value, { maxLength: 4 });
const phase = fc.constantFrom("prefill", "decode");

const step = fc.record({
  stepId: count,
  epoch: count,
  requestIds: list(words),
  phase,
  rows: count,
  contextTokens: count,
});
const RECORDS: readonly fc.Arbitrary<Told>[] = [
  told(
    "onRequest",
    fc.record({
      type: fc.constant("start"),
      requestId: words,
      monoNs: ns,
      promptTokens: count,
      maxTokens: count,
      prompt: orNull(words),
    }),
  ),
  told(
    "onRequest",
    fc.record({
      type: fc.constant("end"),
      requestId: words,
      monoNs: ns,
      startMonoNs: ns,
      firstStepMonoNs: orNull(ns),
      firstTokenMonoNs: orNull(ns),
      promptTokens: count,
      generatedTokens: count,
      interTokenNs: list(ns),
      finishReason: orNull(words),
      errorCode: orNull(words),
      temperature: fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Object.is(value, -0)),
      seed: fc.maxSafeInteger(),
      maxTokens: count,
    }),
  ),
  told(
    "onStep",
    fc
      .tuple(
        step,
        fc.record({
          sentMonoNs: ns,
          receivedMonoNs: ns,
          sampledRequestIds: list(words),
          level: fc.constantFrom(...OBSERVE_LEVELS),
          stages: list(
            fc.record({
              stage: count,
              nodeId: words,
              queueNs: ns,
              computeNs: ns,
              serializeNs: ns,
              hopNs: orNull(fc.maxSafeInteger()),
              bytesIn: count,
            }),
          ),
        }),
      )
      .map(([left, right]) => ({ ...left, ...right })),
  ),
  told(
    "onLayer",
    fc
      .tuple(
        step,
        fc.record({
          stage: count,
          nodeId: words,
          level: fc.constantFrom("layer", "role", "node"),
          stepNs: ns,
          hookNs: ns,
          arrivalNodeNs: ns,
          computeStartNodeNs: ns,
          computeEndNodeNs: ns,
          sentNodeNs: ns,
          segments: list(
            fc.record({
              unit: count,
              role: fc.constantFrom("total", ...ROLES, ...ROLE_GROUPS),
              startNs: ns,
              durationNs: ns,
              nodes: count,
            }),
          ),
        }),
      )
      .map(([left, right]) => ({ ...left, ...right })),
  ),
  told(
    "onLink",
    fc.record({
      from: words,
      to: words,
      rttNs: ns,
      payloadBytes: count,
      clockOffsetNs: orNull(fc.maxSafeInteger()),
      clockUncertaintyNs: orNull(ns),
    }),
  ),
  told(
    "onNode",
    fc.record({
      nodeId: words,
      name: words,
      units: orNull(words),
      state: words,
      rssBytes: count,
      weightsBytes: count,
      kvBytes: count,
      computeBytes: count,
      sessions: count,
    }),
  ),
  told(
    "onPlan",
    fc.record({
      epoch: count,
      split: words,
      reason: words,
      stages: list(fc.record({ stage: count, nodeId: orNull(words), units: words })),
    }),
  ),
  told(
    "onEvent",
    fc.record({
      name: words,
      severity: fc.constantFrom("info", "warning", "error"),
      nodeId: orNull(words),
      message: words,
      details: json,
    }),
  ),
];

function told(method: Method, record: fc.Arbitrary<unknown>): fc.Arbitrary<Told> {
  return record.map((value) => ({ method, record: value }));
}

function tell(observer: LogObserver, { method, record }: Told): void {
  (observer[method] as (value: unknown) => void).call(observer, record);
}

/** Keeps what it is shown, as it was told. */
function collect(): { readonly visitor: LogVisitor; readonly seen: Told[] } {
  const seen: Told[] = [];
  const keep = (method: Method) => (record: unknown) => void seen.push({ method, record });
  const methods = ["onRequest", "onStep", "onLayer", "onLink", "onNode", "onPlan", "onEvent"] as const;
  return { visitor: Object.fromEntries(methods.map((method) => [method, keep(method)])), seen };
}

describe("what is written", () => {
  test("is read as the same records in the same order, whatever they hold", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(...RECORDS), { maxLength: 30 }), async (records) => {
        const { writer, directory } = await openWriter({ segmentBytes: 8000, keepSegments: 100 });
        const observer = new LogObserver(writer, { includeText: true });
        for (const record of records) tell(observer, record);
        expect(await writer.close()).toMatchObject({ rowsLost: 0, rowsWritten: records.length });
        const { visitor, seen } = collect();
        const summary =
          records.length === 0 ? { rows: 0, badLines: 0, missingRows: 0 } : await foldLogs([directory], visitor);
        expect(seen).toEqual(records);
        expect(summary).toMatchObject({ rows: records.length, badLines: 0, missingRows: 0 });
      }),
      { numRuns: 60, seed: 21 },
    );
  });

  test.each(LOG_STREAMS)("is what the published schema of stream %s says, headers too", async (stream) => {
    const samples = RECORDS.flatMap((arbitrary) => fc.sample(arbitrary, { numRuns: 5, seed: 22 }));
    const { writer, directory } = await openWriter();
    const observer = new LogObserver(writer);
    for (const sample of samples) tell(observer, sample);
    await writer.close();
    const lines = readFolder(directory).get(`coordinator.${stream}.000000.jsonl`) ?? [];
    expect(lines.length).toBeGreaterThanOrEqual(6);
    const schema = must(LOG_SCHEMAS[`noodle.${stream}.v1`], "schema");
    for (const line of lines) expect(schema.parse(line)).toEqual(line);
    expect(JSON.stringify(z.toJSONSchema(schema))).toContain(`"noodle.${stream}.v1"`);
  });

  test("holds wall times that follow the monotonic ones", async () => {
    const { writer, directory } = await openWriter();
    const observer = new LogObserver(writer);
    for (let id = 0; id < 3; id += 1) observer.onStep(makeStep(id));
    await writer.close();
    const rows: LogRow[] = [];
    for (const name of readdirSync(directory)) for await (const row of readLog(join(directory, name))) rows.push(row);
    const offsets = rows.map((row) => row.time_unix_ns - 1_790_000_000_000_000_000 - (row.mono_ns - 5_000_000_001_000));
    expect(Math.max(...offsets.map(Math.abs))).toBeLessThanOrEqual(256);
    expect(rows.map((row) => row.mono_ns).sort((a, b) => a - b)).toEqual(rows.map((row) => row.mono_ns));
  });

  test("holds no prompt unless texts were asked for", async () => {
    const { writer, directory } = await openWriter();
    const start = {
      type: "start",
      requestId: "r",
      monoNs: 1,
      promptTokens: 2,
      maxTokens: 3,
      prompt: "secret",
    } as const;
    new LogObserver(writer).onRequest(start);
    await writer.close();
    expect(readFileSync(join(directory, must(readdirSync(directory)[0], "file")), "utf8")).not.toContain("secret");
  });

  test("is cut where a line would become too long to be read", async () => {
    const { writer, directory } = await openWriter({ maxQueuedBytes: 2 ** 26 });
    const observer = new LogObserver(writer, { includeText: true });
    observer.onRequest({
      type: "start",
      requestId: "r",
      monoNs: 1,
      promptTokens: 2,
      maxTokens: 3,
      prompt: "\u0001".repeat(MAX_PROMPT_CHARS + 5),
    });
    observer.onRequest({
      type: "end",
      requestId: "r",
      monoNs: 9,
      startMonoNs: 1,
      firstStepMonoNs: null,
      firstTokenMonoNs: null,
      promptTokens: 2,
      generatedTokens: MAX_INTER_TOKEN_GAPS + 10,
      interTokenNs: Array.from({ length: MAX_INTER_TOKEN_GAPS + 9 }, () => Number.MAX_SAFE_INTEGER),
      finishReason: "stop",
      errorCode: null,
      temperature: 0,
      seed: 1,
      maxTokens: 3,
    });
    const segments = Array.from({ length: 2 * MAX_SEGMENTS_PER_ROW + 1 }, (_, unit) => ({
      unit,
      role: "embedding.position" as const,
      startNs: Number.MAX_SAFE_INTEGER,
      durationNs: Number.MAX_SAFE_INTEGER,
      nodes: 1_000_000,
    }));
    observer.onLayer({
      ...makeStep(1),
      stage: 0,
      nodeId: "w",
      level: "node",
      segments,
      stepNs: 1,
      hookNs: 1,
      arrivalNodeNs: 1,
      computeStartNodeNs: 1,
      computeEndNodeNs: 1,
      sentNodeNs: 1,
    });
    expect(await writer.close()).toMatchObject({ rowsLost: 0, rowsWritten: 5 });
    const requests = readFolder(directory).get("coordinator.request.000000.jsonl");
    expect(requests?.[1]?.["prompt"]).toHaveLength(MAX_PROMPT_CHARS);
    expect(requests?.[2]).toMatchObject({ inter_token_count: MAX_INTER_TOKEN_GAPS + 9 });
    expect(requests?.[2]?.["inter_token_ns"]).toHaveLength(MAX_INTER_TOKEN_GAPS);
    const { visitor, seen } = collect();
    expect(await foldLogs([directory], visitor)).toMatchObject({ badLines: 0 });
    const parts = seen
      .filter(({ method }) => method === "onLayer")
      .map(({ record }) => record as { segments: unknown[] });
    expect(parts.flatMap((part) => part.segments)).toEqual(segments);
  });

  test("makes whole numbers of times that are estimates", async () => {
    const { writer, directory } = await openWriter();
    const record = makeStep(1);
    const stages = record.stages.map((stage) => ({ ...stage, queueNs: -3, computeNs: 10.5, hopNs: -2.5 }));
    new LogObserver(writer).onStep({ ...record, sentMonoNs: 1.25, receivedMonoNs: 7.75, stages });
    await writer.close();
    const { visitor, seen } = collect();
    expect(await foldLogs([directory], visitor)).toMatchObject({ badLines: 0 });
    expect(seen[0]?.record).toMatchObject({
      sentMonoNs: 1,
      receivedMonoNs: 8,
      stages: [
        { queueNs: 0, computeNs: 11, hopNs: -2 },
        { queueNs: 0, computeNs: 11, hopNs: -2 },
      ],
    });
  });
});

test("a plan's hash is that of its stages, whatever its epoch", () => {
  const stages = [{ stage: 0, nodeId: "a", units: "0:3" }];
  const hash = hashPlan({ split: "0:3", stages });
  expect(hash).toMatch(/^[0-9a-f]{64}$/);
  expect(hashPlan({ split: "0:3", stages: [{ ...must(stages[0], "stage") }] })).toBe(hash);
  expect(hashPlan({ split: "0:3", stages: [{ ...must(stages[0], "stage"), nodeId: "b" }] })).not.toBe(hash);
});
