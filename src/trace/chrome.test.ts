import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { type ChromeEvent, type ChromeTrace, writeChromeTrace } from "./chrome.ts";
import { placeStep } from "./place-step.ts";
import { readRequestTrace } from "./read-trace.ts";
import type { RequestTrace, TraceLayers, TraceStep } from "./schema.ts";
import { findFlaws, traceArbitrary } from "./testing.ts";

const SEED = 20261123;
const MS = 1_000_000;

function makeStep(stepId: number, change: Partial<TraceStep> = {}): TraceStep {
  return {
    step_id: stepId,
    epoch: 3,
    phase: "decode",
    rows: 1,
    context_tokens: 10 + stepId,
    level: "step",
    sent_mono_ns: 100 * MS + stepId * 20 * MS,
    received_mono_ns: 100 * MS + stepId * 20 * MS + 18 * MS,
    sampled: true,
    stages: [0, 1].map((stage) => ({
      stage,
      node_id: `n${stage}`,
      queue_ns: 1 * MS,
      compute_ns: 5 * MS,
      serialize_ns: MS / 2,
      hop_ns: MS / 4,
      bytes_in: 128,
    })),
    layers: [],
    ...change,
  };
}

/** What a stage saw, on a clock that is `offsetNs` ahead. */
function makeLayers(
  stage: number,
  arrivalNs: number,
  offsetNs: number,
  change: Partial<TraceLayers> = {},
): TraceLayers {
  const at = arrivalNs + offsetNs;
  return {
    stage,
    node_id: `n${stage}`,
    level: "layer",
    rows: 1,
    step_ns: 5 * MS,
    hook_ns: 0,
    arrival_node_ns: at,
    compute_start_node_ns: at + MS,
    compute_end_node_ns: at + 6 * MS,
    sent_node_ns: at + 7 * MS,
    segments: [
      { unit: stage, role: "total", start_ns: 0, duration_ns: 2 * MS, nodes: 3 },
      { unit: stage + 1, role: "total", start_ns: 2 * MS, duration_ns: 3 * MS, nodes: 3 },
    ],
    ...change,
  };
}

function makeTrace(steps: readonly TraceStep[], offsets: readonly (number | null)[] = [null, null]): RequestTrace {
  return {
    schema: "noodle.trace.v1",
    request_id: "0123456789abcdef0123456789abcdef",
    prompt_tokens: 4,
    generated_tokens: 2,
    max_tokens: 2,
    start_mono_ns: 99 * MS,
    first_step_mono_ns: 100 * MS,
    first_token_mono_ns: 118 * MS,
    end_mono_ns: 200 * MS,
    finish_reason: "length",
    error_code: null,
    stages: offsets.map((offset, stage) => ({
      stage,
      node_id: `n${stage}`,
      name: `host-${stage === 0 ? "a" : "b"}`,
      units: stage === 0 ? "0:8" : "8:15",
      weights_bytes: 1,
      kv_bytes: 2,
      compute_bytes: 3,
      rtt_ns: 200_000,
      clock_offset_ns: offset,
      clock_uncertainty_ns: offset === null ? null : 100_000,
    })),
    steps: [...steps],
    steps_forgotten: 0,
    layers_forgotten: 0,
  };
}

/** As a file's reader gets it. */
function parse(trace: ChromeTrace): ChromeTrace {
  return JSON.parse(JSON.stringify(trace)) as ChromeTrace;
}

function named(trace: ChromeTrace, what: "process_name" | "thread_name"): readonly string[] {
  return trace.traceEvents.flatMap((event) => (event.name === what ? [String(event.args?.["name"])] : []));
}

function slicesOf(trace: ChromeTrace, pid: number, lane: string): readonly ChromeEvent[] {
  return trace.traceEvents.filter((event) => event.ph === "X" && event.pid === pid && event.cat === lane);
}

describe("a request as a Chrome trace", () => {
  it("has a process for each worker, named by its stage, host and units, with the same lanes in each", () => {
    const trace = parse(writeChromeTrace([makeTrace([makeStep(0), makeStep(1)])]));
    expect(named(trace, "process_name")).toEqual([
      "coordinator",
      "stage 0 · host-a · units 0:8",
      "stage 1 · host-b · units 8:15",
    ]);
    const lanes = ["net-in", "queue", "compute", "layers", "net-out"];
    expect(named(trace, "thread_name")).toEqual(["steps", "net-in", ...lanes, ...lanes]);
    expect(findFlaws(trace)).toEqual([]);
  });

  it("lays the stages' times one behind another between sending and receiving, where no clock is known", () => {
    const trace = parse(writeChromeTrace([makeTrace([makeStep(0)])]));
    const [first, second] = [2, 3].map((pid) => must(slicesOf(trace, pid, "compute")[0], "slice"));
    // From the request's start, 1 ms before the step: hop 0.25, queue 1.
    expect(first).toMatchObject({ ts: 2250, dur: 5000 });
    const whole = must(slicesOf(trace, 1, "steps")[0], "slice");
    expect(whole).toMatchObject({ ts: 1000, dur: 18_000 });
    expect(whole.args).toMatchObject({ placed_by: "durations", uncertainty_us: null });
    // 18 ms, less two stages of 6.75 and a way back of 0.25.
    expect(whole.args?.["unaccounted_us"]).toBe(4250);
    expect(must(second, "slice").ts).toBeGreaterThan(must(first, "slice").ts + 5000);
    const back = must(slicesOf(trace, 1, "net-in")[0], "slice");
    expect(back.ts + Number(back.dur)).toBe(19_000);
  });

  it("places stages by their own clocks where the offsets are known, and says how far that may be off", () => {
    const offsets = [7_000_000_000_000, -50 * MS];
    const step = makeStep(0, {
      level: "layer",
      layers: [makeLayers(0, 101 * MS, offsets[0] ?? 0), makeLayers(1, 109 * MS, offsets[1] ?? 0)],
    });
    const trace = parse(writeChromeTrace([makeTrace([step], offsets)]));
    expect(slicesOf(trace, 1, "steps")[0]?.args).toMatchObject({ placed_by: "clock", uncertainty_us: 100 });
    expect(slicesOf(trace, 2, "compute")[0]).toMatchObject({ ts: 3000, dur: 5000 });
    expect(slicesOf(trace, 3, "compute")[0]).toMatchObject({ ts: 11_000, dur: 5000 });
    expect(slicesOf(trace, 3, "layers").map(({ name, ts, dur }) => [name, ts, dur])).toEqual([
      ["unit 1", 11_000, 2000],
      ["unit 2", 13_000, 3000],
    ]);
    expect(findFlaws(trace)).toEqual([]);
  });

  it("moves a stage whose clock would put it before its cause by no more than it takes", () => {
    const step = makeStep(0, { layers: [makeLayers(0, 99 * MS, 0), makeLayers(1, 106 * MS, 0)] });
    const { stages, basis } = placeStep(step, makeTrace([step], [0, 0]).stages);
    expect(basis).toBe("clock");
    expect(stages.map((stage) => stage.arrivalNs)).toEqual([100 * MS, 107 * MS]);
    const impossible = makeStep(0, { layers: [makeLayers(0, 90 * MS, 0), makeLayers(1, 190 * MS, 0)] });
    const longer = { ...impossible, received_mono_ns: 110 * MS };
    expect(placeStep(longer, makeTrace([longer], [0, 0]).stages).basis).toBe("durations");
  });

  it("draws roles inside their unit", () => {
    const segments = (["norm", "attention", "mlp"] as const).map((role, index) => ({
      unit: 1,
      role,
      start_ns: index * MS,
      duration_ns: MS,
      nodes: 2,
    }));
    const step = makeStep(0, {
      level: "role",
      layers: [makeLayers(0, 101 * MS, 0, { level: "role", segments }), makeLayers(1, 109 * MS, 0)],
    });
    const trace = parse(writeChromeTrace([makeTrace([step], [0, 0])]));
    const layers = slicesOf(trace, 2, "layers");
    expect(layers.map(({ name }) => name)).toEqual(["unit 1", "norm", "attention", "mlp"]);
    expect(new Set(layers.map(({ tid }) => tid)).size).toBe(1);
    expect(findFlaws(trace)).toEqual([]);
  });

  it("gives steps that are in a stage at once rows of their own", () => {
    const steps = [makeStep(0), makeStep(1, { sent_mono_ns: 100.5 * MS, received_mono_ns: 130 * MS })];
    const trace = parse(writeChromeTrace([makeTrace(steps)]));
    expect(named(trace, "thread_name")).toContain("steps 2");
    expect(findFlaws(trace)).toEqual([]);
  });

  it("leads an arrow over every hop and back, and counts what is in flight, queued, kept and made", () => {
    const trace = parse(writeChromeTrace([makeTrace([makeStep(0), makeStep(1)])]));
    const id = "0123456789abcdef0123456789abcdef";
    const starts = trace.traceEvents.filter((event) => event.ph === "s").map((event) => event.id);
    expect(starts).toEqual([`${id}:0:0`, `${id}:0:1`, `${id}:0:2`, `${id}:1:0`, `${id}:1:1`, `${id}:1:2`]);
    const counter = (name: string): readonly unknown[] =>
      trace.traceEvents.flatMap((event) =>
        event.ph === "C" && event.name.startsWith(name) ? Object.values(event.args ?? {}) : [],
      );
    expect(counter("KV tokens")).toEqual([10, 11]);
    expect(counter("KV bytes")).toEqual([2, 2]);
    expect(counter("tokens/s")).toEqual([50]);
    expect(counter("steps in flight")).toEqual([1, 0, 1, 0]);
    expect(counter("queue depth")).toHaveLength(8);
  });

  it("spans the request, its prompt and its generation", () => {
    const trace = parse(writeChromeTrace([makeTrace([makeStep(0)])]));
    const spans = trace.traceEvents.filter((event) => event.ph === "b").map(({ name, ts, id }) => [name, ts, id]);
    const id = "0123456789abcdef0123456789abcdef";
    expect(spans).toEqual([
      ["request", 0, id],
      ["prompt", 0, id],
      ["generation", 19_000, id],
    ]);
  });

  it("draws a step of two requests once", () => {
    const one = makeTrace([makeStep(0)]);
    const two = { ...one, request_id: "ff".repeat(16) };
    const trace = parse(writeChromeTrace([one, two]));
    expect(slicesOf(trace, 1, "steps")).toHaveLength(1);
    expect(trace.traceEvents.filter((event) => event.ph === "b" && event.name === "request")).toHaveLength(2);
    expect(findFlaws(trace)).toEqual([]);
  });

  it("is sound for any trace: steps that overlap, clocks that are wrong, times that contradict each other", () => {
    fc.assert(
      fc.property(traceArbitrary, (trace) => {
        const read = readRequestTrace(JSON.stringify(trace));
        expect(read).toEqual(trace);
        expect(findFlaws(parse(writeChromeTrace([read])))).toEqual([]);
      }),
      { seed: SEED, numRuns: 400 },
    );
  });

  it("is sound where nothing happened", () => {
    expect(findFlaws(parse(writeChromeTrace([])))).toEqual([]);
    expect(findFlaws(parse(writeChromeTrace([makeTrace([])])))).toEqual([]);
  });
});

describe("the reader of flaws", () => {
  it.each<[string, Partial<ChromeEvent>]>([
    ["a slice that overlaps another by a part", { ts: 2260, dur: 5000 }],
    ["a row without a name", { tid: 7 }],
    ["a process that does not exist", { pid: 77 }],
    ["a time before the beginning", { ts: -1 }],
    ["a duration below nothing", { dur: -1 }],
  ])("finds %s", (_what, change) => {
    const trace = parse(writeChromeTrace([makeTrace([makeStep(0)])]));
    const compute = must(slicesOf(trace, 2, "compute")[0], "slice");
    const events = [...trace.traceEvents, { ...compute, ...change }].sort((a, b) => a.ts - b.ts);
    expect(findFlaws({ ...trace, traceEvents: events })).not.toEqual([]);
  });

  it("finds an arrow without its end, and a span", () => {
    const trace = parse(writeChromeTrace([makeTrace([makeStep(0)])]));
    for (const ph of ["f", "s", "b", "e"]) {
      const index = trace.traceEvents.findIndex((event) => event.ph === ph);
      expect(findFlaws({ ...trace, traceEvents: trace.traceEvents.toSpliced(index, 1) })).not.toEqual([]);
    }
  });
});
