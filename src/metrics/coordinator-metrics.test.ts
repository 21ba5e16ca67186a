import { describe, expect, test } from "vitest";
import { CoordinatorMetrics, type CoordinatorMetricsOptions } from "./coordinator-metrics.ts";
import { type MetricDefinition, METRICS } from "./definitions.ts";
import {
  findSample,
  makeNode,
  makePlan,
  makeRequestEnd,
  makeRequestStart,
  makeStageStep,
  makeStep,
  parseExposition,
} from "./testing.ts";

const MS = 1e6;

function open(options: Partial<CoordinatorMetricsOptions> = {}): CoordinatorMetrics {
  return new CoordinatorMetrics({ build: { noodlecoreVersion: "1.2.3", engineBuild: "b1" }, model: "m", ...options });
}

async function scrape(metrics: CoordinatorMetrics) {
  const families = parseExposition(await metrics.render());
  return {
    families,
    value: (name: string, labels: Readonly<Record<string, string>> = {}) => findSample(families, name, labels),
  };
}

describe("a scrape", () => {
  test("has every metric of the coordinator with its type and help from the start, and no other", async () => {
    const { families } = await scrape(open());
    const wanted = Object.entries<MetricDefinition>(METRICS).filter(([, { owners }]) => owners.includes("coordinator"));
    expect([...families.values()].map(({ name, type, help }) => `${name} ${type} ${help}`).sort()).toEqual(
      wanted.map(([name, { type, help }]) => `${name} ${type} ${help}`).sort(),
    );
  });

  test("carries what runs, and the process", async () => {
    const { value } = await scrape(open());
    expect(value("noodle_build_info", { version: "1.2.3", engine_build: "b1", role: "coordinator" })).toBe(1);
    expect(value("noodle_model_info", { model: "m" })).toBe(1);
    expect(
      value("noodle_process_resident_memory_bytes", { node: "coordinator", process: "coordinator" }),
    ).toBeGreaterThan(1e6);
    expect(value("noodle_process_cpu_seconds_total")).toBeGreaterThan(0);
    const startSeconds = value("noodle_process_start_time_seconds") ?? 0;
    expect(Math.abs(startSeconds * 1000 - performance.timeOrigin)).toBeLessThan(1);
  });
});

describe("requests", () => {
  test("wait until their first step, run until their end, and are counted by how they ended", async () => {
    const metrics = open();
    metrics.onRequest(makeRequestStart("a"));
    metrics.onRequest(makeRequestStart("b"));
    metrics.onStep(makeStep({ requestIds: ["a"] }));
    const before = await scrape(metrics);
    expect(before.value("noodle_num_requests_running")).toBe(1);
    expect(before.value("noodle_num_requests_waiting")).toBe(1);
    metrics.onRequest(makeRequestEnd({ requestId: "a" }));
    metrics.onRequest(makeRequestEnd({ requestId: "b", finishReason: null, errorCode: "PEER_DEAD" }));
    metrics.onRequest(makeRequestEnd({ requestId: "never-started", finishReason: null }));
    const after = await scrape(metrics);
    expect(after.value("noodle_num_requests_running")).toBe(0);
    expect(after.value("noodle_num_requests_waiting")).toBe(0);
    expect(after.value("noodle_request_success_total", { finished_reason: "length" })).toBe(1);
    expect(after.value("noodle_request_failure_total", { error_code: "PEER_DEAD" })).toBe(1);
    expect(after.value("noodle_request_failure_total", { error_code: "INTERRUPTED" })).toBe(1);
  });

  test("have the intervals of their end in seconds", async () => {
    const metrics = open();
    metrics.onRequest(makeRequestEnd());
    const { value } = await scrape(metrics);
    expect(value("noodle_request_queue_time_seconds_sum")).toBe(0.5);
    expect(value("noodle_request_prefill_time_seconds_sum")).toBe(1);
    expect(value("noodle_time_to_first_token_seconds_sum")).toBe(1.5);
    expect(value("noodle_request_decode_time_seconds_sum")).toBe(0.5);
    expect(value("noodle_e2e_request_latency_seconds_sum")).toBe(2);
    expect(value("noodle_request_time_per_output_token_seconds_sum")).toBe(0.25);
    expect(value("noodle_inter_token_latency_seconds_count")).toBe(2);
    expect(value("noodle_inter_token_latency_seconds_sum")).toBe(0.5);
    expect(value("noodle_request_prompt_tokens_sum")).toBe(16);
    expect(value("noodle_request_generation_tokens_sum")).toBe(3);
  });

  test("without a token have no interval that begins at one", async () => {
    const metrics = open();
    metrics.onRequest(
      makeRequestEnd({ firstStepMonoNs: null, firstTokenMonoNs: null, generatedTokens: 0, interTokenNs: [] }),
    );
    const { value } = await scrape(metrics);
    expect(value("noodle_e2e_request_latency_seconds_count")).toBe(1);
    expect(value("noodle_request_queue_time_seconds_count")).toBe(0);
    expect(value("noodle_time_to_first_token_seconds_count")).toBe(0);
    expect(value("noodle_request_time_per_output_token_seconds_count")).toBe(0);
  });
});

describe("steps", () => {
  test("count tokens, rows and what each stage spent", async () => {
    const metrics = open();
    for (const id of ["a", "b"]) metrics.onRequest(makeRequestStart(id));
    metrics.onStep(makeStep({ phase: "prefill", rows: 16, stages: [] }));
    metrics.onStep(makeStep({ requestIds: ["a", "b", "over"], rows: 3 }));
    const { value } = await scrape(metrics);
    expect(value("noodle_steps_total", { phase: "prefill" })).toBe(1);
    expect(value("noodle_steps_total", { phase: "decode" })).toBe(1);
    expect(value("noodle_prompt_tokens_total")).toBe(16);
    expect(value("noodle_generation_tokens_total")).toBe(2);
    expect(value("noodle_step_rows_sum", { phase: "prefill" })).toBe(16);
    expect(value("noodle_step_seconds_count", { phase: "prefill" })).toBe(1);
    expect(value("noodle_step_seconds_sum", { phase: "decode" })).toBeCloseTo(0.012, 12);
    expect(value("noodle_stage_compute_seconds_sum", { stage: "1", phase: "decode" })).toBeCloseTo(0.006, 12);
    expect(value("noodle_stage_compute_seconds_bucket", { stage: "1", phase: "decode", le: "0.005" })).toBe(0);
    expect(value("noodle_stage_compute_seconds_bucket", { stage: "1", phase: "decode", le: "0.01" })).toBe(1);
    expect(value("noodle_hop_seconds_sum", { stage: "0" })).toBeCloseTo(0.001, 12);
    expect(value("noodle_stage_received_bytes_total", { stage: "1" })).toBe(100);
  });

  test("of a prefill give a token to those that were sampled for, and none to the others", async () => {
    const metrics = open();
    for (const id of ["a", "b"]) metrics.onRequest(makeRequestStart(id));
    const chunk = { phase: "prefill", rows: 8, requestIds: ["a", "b"], stages: [] } as const;
    for (const sampledRequestIds of [[], ["a"], [], []]) metrics.onStep(makeStep({ ...chunk, sampledRequestIds }));
    const { value } = await scrape(metrics);
    expect(value("noodle_prompt_tokens_total")).toBe(32);
    expect(value("noodle_generation_tokens_total")).toBe(1);
    expect(value("noodle_step_seconds_count", { phase: "prefill" })).toBe(4);
  });

  test("with an unknown way in have no hop", async () => {
    const metrics = open();
    metrics.onStep(makeStep({ stages: [makeStageStep(0, { hopNs: null })] }));
    const { value } = await scrape(metrics);
    expect(value("noodle_hop_seconds_count", { stage: "0" })).toBeUndefined();
  });

  test("of more stages than a metric may show are counted as dropped, the others stay right", async () => {
    const metrics = open();
    metrics.onStep(
      makeStep({ stages: [makeStageStep(1e9), ...Array.from({ length: 200 }, (_, at) => makeStageStep(at))] }),
    );
    const { families, value } = await scrape(metrics);
    const shown = families.get("noodle_stage_compute_seconds")?.samples.filter(({ name }) => name.endsWith("_count"));
    expect(shown).toHaveLength(64);
    expect(value("noodle_stage_compute_seconds_count", { stage: "5", phase: "decode" })).toBe(1);
    expect(value("noodle_metrics_series_dropped_total")).toBeGreaterThan(100);
  });

  test("that were sampled have their layers by role", async () => {
    const metrics = open();
    const segment = { unit: 1, role: "attention", startNs: 0, durationNs: 40_000, nodes: 3 } as const;
    metrics.onLayer({
      stepId: 1,
      epoch: 1,
      requestIds: ["r1"],
      stage: 0,
      nodeId: "node-0",
      phase: "decode",
      rows: 1,
      contextTokens: 3,
      level: "role",
      segments: [segment, { ...segment, unit: 2 }, { ...segment, role: "mlp", durationNs: 60_000 }],
      stepNs: 150_000,
      hookNs: 10_000,
      arrivalNodeNs: 0,
      computeStartNodeNs: 0,
      computeEndNodeNs: 0,
      sentNodeNs: 0,
    });
    const { value } = await scrape(metrics);
    expect(value("noodle_layer_seconds_count", { role: "attention", phase: "decode" })).toBe(2);
    expect(value("noodle_layer_seconds_sum", { role: "mlp", phase: "decode" })).toBeCloseTo(0.00006, 12);
    expect(value("noodle_hook_seconds_sum", { stage: "0" })).toBeCloseTo(0.00001, 12);
  });
});

describe("drift", () => {
  test("is measured over predicted, asked for the units and context of the step", async () => {
    const asked: unknown[] = [];
    const metrics = open({
      predict: (...args) => {
        asked.push(args);
        return args[0] === "0:3" ? 1 : null;
      },
    });
    metrics.onPlan(makePlan());
    metrics.onStep(makeStep({ contextTokens: 17 }));
    const { value } = await scrape(metrics);
    expect(asked).toEqual([
      ["0:3", "decode", 1, 16],
      ["3:6", "decode", 1, 16],
    ]);
    expect(value("noodle_drift_ratio", { stage: "0", phase: "decode" })).toBe(2);
    expect(value("noodle_drift_ratio", { stage: "1", phase: "decode" })).toBeUndefined();
    metrics.onPlan(makePlan(2));
    expect((await scrape(metrics)).value("noodle_drift_ratio", { stage: "0", phase: "decode" })).toBeUndefined();
  });

  test("forgets what is older than its window", async () => {
    const metrics = open({ predict: () => 1 });
    metrics.onPlan(makePlan());
    const slow = makeStep({ stages: [makeStageStep(0, { computeNs: 50 * MS })] });
    for (let step = 0; step < 8 * 10; step++) metrics.onStep(slow);
    for (let step = 0; step < 8 * 64; step++)
      metrics.onStep(makeStep({ stages: [makeStageStep(0, { computeNs: MS })] }));
    expect((await scrape(metrics)).value("noodle_drift_ratio", { stage: "0", phase: "decode" })).toBeCloseTo(1, 9);
  });

  test("of a prefill counts the context before its rows", async () => {
    const asked: number[] = [];
    const metrics = open({
      predict: (_units, _phase, _rows, context) => {
        asked.push(context);
        return 1;
      },
    });
    metrics.onPlan(makePlan());
    metrics.onStep(makeStep({ phase: "prefill", rows: 16, contextTokens: 48, stages: [makeStageStep(0)] }));
    expect(asked).toEqual([32]);
  });
});

describe("the cluster", () => {
  test("shows nodes with their memory until they are lost", async () => {
    const metrics = open();
    metrics.onNode(makeNode());
    const { value } = await scrape(metrics);
    expect(value("noodle_node_up", { node: "node-0", name: "host-a" })).toBe(1);
    expect(value("noodle_process_resident_memory_bytes", { node: "node-0", process: "worker" })).toBe(1000);
    expect(value("noodle_node_weights_bytes", { node: "node-0" })).toBe(600);
    expect(value("noodle_node_kv_bytes", { node: "node-0" })).toBe(200);
    expect(value("noodle_node_compute_buffer_bytes", { node: "node-0" })).toBe(100);
    expect(value("noodle_node_sessions", { node: "node-0" })).toBe(1);
    metrics.onNode(makeNode({ state: "lost" }));
    const after = await scrape(metrics);
    const left = [...after.families.values()].flatMap(({ samples }) =>
      samples.filter(({ labels }) => labels["node"] === "node-0"),
    );
    expect(left).toEqual([]);
  });

  test("shows the stages of the plan in force alone", async () => {
    const metrics = open();
    metrics.onPlan(makePlan());
    metrics.onPlan({ ...makePlan(5), stages: [{ stage: 0, nodeId: null, units: "0:6" }] });
    const { families, value } = await scrape(metrics);
    expect(value("noodle_plan_epoch")).toBe(5);
    expect(families.get("noodle_stage_info")?.samples).toEqual([
      { name: "noodle_stage_info", labels: { stage: "0", node: "", units: "0:6" }, value: 1 },
    ]);
  });

  test("shows links, with the clock where it was estimated, and events", async () => {
    const metrics = open();
    const link = { from: "coordinator", payloadBytes: 8, clockOffsetNs: null, clockUncertaintyNs: null };
    metrics.onLink({ ...link, to: "a", rttNs: 2 * MS });
    metrics.onLink({ ...link, to: "b", rttNs: 3 * MS, clockOffsetNs: -5 * MS, clockUncertaintyNs: MS });
    metrics.onEvent({ name: "worker.lost", severity: "warning", nodeId: "a", message: "", details: {} });
    const { value } = await scrape(metrics);
    expect(value("noodle_link_round_trip_seconds", { from: "coordinator", to: "a" })).toBe(0.002);
    expect(value("noodle_link_clock_offset_seconds", { from: "coordinator", to: "a" })).toBeUndefined();
    expect(value("noodle_link_clock_offset_seconds", { from: "coordinator", to: "b" })).toBe(-0.005);
    expect(value("noodle_link_clock_uncertainty_seconds", { from: "coordinator", to: "b" })).toBe(0.001);
    expect(value("noodle_events_total", { event: "worker.lost", severity: "warning" })).toBe(1);
  });

  test("counts what the prefix cache gave, from zero again with another pipeline", async () => {
    const metrics = open();
    let prefixes = { hits: 0, misses: 0, reused_tokens: 0 };
    metrics.show(() => ({
      coordinator: { context_tokens: 100, parallel: 4, cpu_ratio: 0 },
      stages: [],
      sessions: [],
      serving: { prefix_cache: prefixes },
    }));
    await scrape(metrics);
    prefixes = { hits: 3, misses: 2, reused_tokens: 90 };
    await scrape(metrics);
    prefixes = { hits: 1, misses: 0, reused_tokens: 20 };
    const { value } = await scrape(metrics);
    expect(value("noodle_prefix_cache_lookups_total", { result: "hit" })).toBe(4);
    expect(value("noodle_prefix_cache_lookups_total", { result: "miss" })).toBe(2);
    expect(value("noodle_prefix_cache_reused_tokens_total")).toBe(110);
  });

  test("shows how much of the KV is used and who is busy once there is a cluster, and what logs and spans lost", async () => {
    let lost = 3;
    const metrics = open({ readLogRowsDropped: () => lost, readSpansDropped: () => 1 });
    expect((await scrape(metrics)).value("noodle_kv_cache_usage_ratio")).toBe(0);
    metrics.show(() => ({
      coordinator: { context_tokens: 100, parallel: 4, cpu_ratio: 0.04 },
      stages: [
        { index: 0, engine_busy_ratio: 0.93 },
        { index: 1, engine_busy_ratio: null },
      ],
      sessions: [
        { prompt_tokens: 30, generated_tokens: 10 },
        { prompt_tokens: 50, generated_tokens: 10 },
      ],
      serving: { prefix_cache: { hits: 0, misses: 0, reused_tokens: 0 } },
    }));
    lost = 5;
    const { value } = await scrape(metrics);
    expect(value("noodle_kv_cache_usage_ratio")).toBe(0.25);
    expect(value("noodle_kv_cache_capacity_tokens")).toBe(400);
    expect(value("noodle_stage_engine_busy_ratio", { stage: "0" })).toBe(0.93);
    expect(value("noodle_stage_engine_busy_ratio", { stage: "1" })).toBeUndefined();
    expect(value("noodle_coordinator_cpu_ratio")).toBe(0.04);
    expect(value("noodle_log_rows_dropped_total")).toBe(5);
    expect(value("noodle_spans_dropped_total")).toBe(1);
  });
});
