import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import type { LayerRecord, RequestRecord, StepRecord } from "../observe/index.ts";
import { countMissingLayers, TraceCollector } from "./collector.ts";
import { readRequestTrace } from "./read-trace.ts";

const MS = 1_000_000;

function start(requestId: string): RequestRecord {
  return { type: "start", requestId, monoNs: 5 * MS, promptTokens: 3, maxTokens: 9, prompt: "not kept" };
}

function end(requestId: string): RequestRecord {
  return {
    type: "end",
    requestId,
    monoNs: 90 * MS,
    startMonoNs: 5 * MS,
    firstStepMonoNs: 6 * MS,
    firstTokenMonoNs: 10 * MS,
    promptTokens: 3,
    generatedTokens: 2,
    interTokenNs: [MS],
    finishReason: "stop",
    errorCode: null,
    temperature: 0,
    seed: 0,
    maxTokens: 9,
  };
}

function step(stepId: number, requestIds: readonly string[], change: Partial<StepRecord> = {}): StepRecord {
  return {
    stepId,
    epoch: 4,
    requestIds,
    sampledRequestIds: requestIds,
    phase: "decode",
    rows: 1,
    contextTokens: stepId,
    sentMonoNs: stepId * MS,
    receivedMonoNs: stepId * MS + 10,
    level: "layer",
    stages: ["a", "b"].map((nodeId, stage) => ({
      stage,
      nodeId,
      queueNs: 1,
      computeNs: 2,
      serializeNs: 3,
      hopNs: null,
      bytesIn: 4,
    })),
    ...change,
  };
}

function layer(stepId: number, requestIds: readonly string[], stage = 0): LayerRecord {
  return {
    stepId,
    epoch: 4,
    requestIds,
    stage,
    nodeId: stage === 0 ? "a" : "b",
    phase: "decode",
    rows: 1,
    contextTokens: stepId,
    level: "layer",
    segments: [
      { unit: 0, role: "total", startNs: 0, durationNs: 1, nodes: 1 },
      { unit: 1, role: "total", startNs: 1, durationNs: 1, nodes: 1 },
    ],
    stepNs: 2,
    hookNs: 0,
    arrivalNodeNs: 1,
    computeStartNodeNs: 2,
    computeEndNodeNs: 4,
    sentNodeNs: 5,
  };
}

describe("the collector of traces", () => {
  it("puts a request together, with what is known of its nodes and their clocks", () => {
    const collector = new TraceCollector();
    collector.onPlan({
      epoch: 4,
      split: "0:1,1:2",
      stages: [
        { stage: 0, nodeId: "a", units: "0:1" },
        { stage: 1, nodeId: "b", units: "1:2" },
      ],
      reason: "",
    });
    collector.onNode({
      nodeId: "a",
      name: "host-a",
      units: "0:1",
      state: "ready",
      rssBytes: 0,
      weightsBytes: 7,
      kvBytes: 8,
      computeBytes: 9,
      sessions: 1,
    });
    const link = { from: "coordinator", to: "a", rttNs: 50, payloadBytes: 0 };
    collector.onLink({ ...link, clockOffsetNs: -3, clockUncertaintyNs: 25 });
    collector.onLink({ ...link, from: "b", clockOffsetNs: 99, clockUncertaintyNs: 1 });
    collector.onRequest(start("r"));
    collector.onStep(step(1, ["r"]));
    collector.onLayer(layer(1, ["r"], 1));
    expect(collector.readTrace("other")).toBeNull();
    const running = must(collector.readTrace("r"), "trace");
    expect(running).toMatchObject({ end_mono_ns: null, generated_tokens: 1, finish_reason: null });
    expect(countMissingLayers(running)).toBe(1);
    collector.onLayer(layer(1, ["r"], 0));
    collector.onRequest(end("r"));
    const trace = must(collector.readTrace("r"), "trace");
    expect(countMissingLayers(trace)).toBe(0);
    expect(trace).toMatchObject({ end_mono_ns: 90 * MS, first_token_mono_ns: 10 * MS, finish_reason: "stop" });
    expect(trace.stages).toMatchObject([
      { name: "host-a", units: "0:1", kv_bytes: 8, clock_offset_ns: -3, clock_uncertainty_ns: 25, rtt_ns: 50 },
      { name: "b", units: "1:2", kv_bytes: 0, clock_offset_ns: null },
    ]);
    expect(trace.steps[0]?.layers.map((entry) => entry.stage)).toEqual([0, 1]);
    expect(JSON.stringify(trace)).not.toContain("not kept");
    expect(readRequestTrace(JSON.stringify(trace))).toEqual(trace);
  });

  it("keeps the last requests, lets those go first that have ended, and counts them", () => {
    const collector = new TraceCollector({ maxRequests: 2 });
    for (const id of ["running", "done"]) collector.onRequest(start(id));
    collector.onRequest(end("done"));
    collector.onRequest(start("third"));
    expect(collector.requestIds).toEqual(["running", "third"]);
    collector.onRequest(start("fourth"));
    expect(collector.requestIds).toEqual(["third", "fourth"]);
    expect(collector.requestsForgotten).toBe(2);
    collector.onStep(step(1, ["running", "fourth"]));
    expect(collector.readTrace("running")).toBeNull();
    expect(collector.readTrace("fourth")?.steps).toHaveLength(1);
  });

  it("keeps so many steps and segments, and counts the others", () => {
    const collector = new TraceCollector({ maxSteps: 3, maxSegments: 4 });
    collector.onRequest(start("r"));
    for (let id = 1; id <= 5; id++) {
      collector.onStep(step(id, ["r"]));
      collector.onLayer(layer(id, ["r"]));
    }
    const trace = must(collector.readTrace("r"), "trace");
    expect(trace.steps.map((entry) => entry.layers.length)).toEqual([1, 1, 0]);
    expect(trace).toMatchObject({ steps_forgotten: 2, layers_forgotten: 3 });
  });

  it("forgets requests that have ended rather than steps of one that runs", () => {
    const collector = new TraceCollector({ maxSteps: 3, maxSegments: 4 });
    for (const id of ["old", "new"]) {
      collector.onRequest(start(id));
      for (let stepId = 1; stepId <= 2; stepId++) {
        collector.onStep(step(stepId, [id]));
        collector.onLayer(layer(stepId, [id]));
      }
      collector.onRequest(end(id));
    }
    expect(collector.requestIds).toEqual(["new"]);
    expect(collector.readTrace("new")).toMatchObject({ steps_forgotten: 0, layers_forgotten: 0 });
    expect(collector.requestsForgotten).toBe(1);
  });

  it("puts a step of several requests into each", () => {
    const collector = new TraceCollector();
    for (const id of ["a", "b"]) collector.onRequest(start(id));
    collector.onStep(step(1, ["a", "b"]));
    collector.onLayer(layer(1, ["a", "b"]));
    for (const id of ["a", "b"]) expect(collector.readTrace(id)?.steps[0]?.layers).toHaveLength(1);
  });
});

describe("the reader of traces", () => {
  const sound = (): object => {
    const collector = new TraceCollector();
    collector.onRequest(start("r"));
    collector.onStep(step(1, ["r"]));
    return must(collector.readTrace("r"), "trace");
  };

  it("leaves out what a later release of the same version has added", () => {
    expect(readRequestTrace(JSON.stringify({ ...sound(), more: 1 }))).toEqual(sound());
  });

  it.each<[string, () => string]>([
    ["half a file", () => JSON.stringify(sound()).slice(0, 200)],
    ["no object", () => "7"],
    ["no schema", () => "{}"],
    ["another version", () => JSON.stringify({ ...sound(), schema: "noodle.trace.v2" })],
    ["a field too few", () => JSON.stringify({ ...sound(), steps: undefined })],
    ["a negative time", () => JSON.stringify({ ...sound(), start_mono_ns: -1 })],
    ["a time that is no number", () => JSON.stringify({ ...sound(), start_mono_ns: "1" })],
  ])("refuses %s", (_what, write) => {
    expect(() => readRequestTrace(write())).toThrow(expect.objectContaining({ code: "TRACE_INVALID" }));
  });
});
