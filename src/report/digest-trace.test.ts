import { writeStageTimes } from "../observe/index.ts";
import { describe, expect, test } from "vitest";
import type { RequestTrace } from "../trace/index.ts";
import { digestTrace } from "./digest-trace.ts";
import { makeRun } from "./testing.ts";

const STAGES = ["0:7", "7:14"];

function makeTrace(): RequestTrace {
  const { steps, layers, requests } = makeRun({ steps: 40, requests: 1, stages: STAGES, sampleEvery: 1 });
  const [request] = requests;
  if (request?.type !== "end") throw new Error("the run has one request");
  return {
    schema: "noodle.trace.v1",
    request_id: request.requestId,
    prompt_tokens: request.promptTokens,
    generated_tokens: request.generatedTokens,
    max_tokens: request.maxTokens,
    start_mono_ns: request.startMonoNs,
    first_step_mono_ns: request.firstStepMonoNs,
    first_token_mono_ns: request.firstTokenMonoNs,
    end_mono_ns: request.monoNs,
    finish_reason: "length",
    error_code: null,
    stages: STAGES.map((units, stage) => ({
      stage,
      node_id: `worker-${stage + 1}`,
      name: `worker-${stage + 1}`,
      units,
      weights_bytes: 0,
      kv_bytes: 0,
      compute_bytes: 0,
      rtt_ns: null,
      clock_offset_ns: null,
      clock_uncertainty_ns: null,
    })),
    steps: steps.map((step) => ({
      step_id: step.stepId,
      epoch: step.epoch,
      phase: step.phase,
      rows: step.rows,
      context_tokens: step.contextTokens,
      level: step.level,
      sent_mono_ns: step.sentMonoNs,
      received_mono_ns: step.receivedMonoNs,
      sampled: step.sampledRequestIds.length > 0,
      stages: step.stages.map(writeStageTimes),
      layers: layers
        .filter(({ stepId }) => stepId === step.stepId)
        .map((layer) => ({
          stage: layer.stage,
          node_id: layer.nodeId,
          level: layer.level,
          rows: layer.rows,
          step_ns: layer.stepNs,
          hook_ns: layer.hookNs,
          arrival_node_ns: layer.arrivalNodeNs,
          compute_start_node_ns: layer.computeStartNodeNs,
          compute_end_node_ns: layer.computeEndNodeNs,
          sent_node_ns: layer.sentNodeNs,
          segments: layer.segments.map(({ unit, role, startNs, durationNs, nodes }) => ({
            unit,
            role,
            start_ns: startNs,
            duration_ns: durationNs,
            nodes,
          })),
        })),
    })),
    steps_forgotten: 0,
    layers_forgotten: 0,
  };
}

describe("the digest of a trace", () => {
  test("has every decode step of the request from inside, and the plan that it ran under", () => {
    const digest = digestTrace(makeTrace());
    expect(digest?.steps).toBe(40);
    expect(digest?.stages.map(({ units }) => units)).toEqual(STAGES);
    expect(digest?.heat?.columns).toHaveLength(39);
    expect(digest?.heat?.units).toHaveLength(14);
    expect(digest?.requests).toMatchObject({ finished: 1, generatedTokens: 40 });
  });

  test("of a request that still runs has its steps and no finished request", () => {
    const digest = digestTrace({ ...makeTrace(), end_mono_ns: null });
    expect(digest?.requests.finished).toBe(0);
    expect(digest?.timeline.length).toBeGreaterThan(0);
  });
});
