import { expect, it } from "vitest";
import { must } from "../common/index.ts";
import type { RequestTrace, TraceStep } from "./schema.ts";
import { summarizeTrace } from "./summary.ts";

const MS = 1_000_000;

function makeStep(index: number, phase: TraceStep["phase"], computeMs: number): TraceStep {
  const sent = index * 50 * MS;
  return {
    step_id: index,
    epoch: 1,
    phase,
    rows: phase === "decode" ? 1 : 8,
    context_tokens: 1,
    level: "role",
    sent_mono_ns: sent,
    received_mono_ns: sent + 40 * MS,
    sampled: phase === "decode",
    stages: [
      { stage: 0, node_id: "a", queue_ns: MS, compute_ns: computeMs * MS, serialize_ns: MS, hop_ns: null, bytes_in: 0 },
    ],
    layers: [
      {
        stage: 0,
        node_id: "a",
        level: "role",
        rows: 1,
        step_ns: 0,
        hook_ns: 0,
        arrival_node_ns: 0,
        compute_start_node_ns: 0,
        compute_end_node_ns: 0,
        sent_node_ns: 0,
        segments: [
          { unit: 1, role: "attention", start_ns: 0, duration_ns: 2 * MS, nodes: 1 },
          { unit: 1, role: "mlp", start_ns: 0, duration_ns: computeMs * MS, nodes: 1 },
          { unit: 1, role: "attention", start_ns: 0, duration_ns: 2 * MS, nodes: 1 },
        ],
      },
    ],
  };
}

it("says by phase where the time of a step went, and which unit is the slowest", () => {
  const steps = [makeStep(0, "prefill", 30), ...[6, 8, 100].map((ms, index) => makeStep(index + 1, "decode", ms))];
  const stage = { stage: 0, node_id: "a", name: "host", units: "0:3", weights_bytes: 0, kv_bytes: 0, compute_bytes: 0 };
  const trace: RequestTrace = {
    schema: "noodle.trace.v1",
    request_id: "r",
    prompt_tokens: 8,
    generated_tokens: 3,
    max_tokens: 3,
    start_mono_ns: 0,
    first_step_mono_ns: 0,
    first_token_mono_ns: null,
    end_mono_ns: null,
    finish_reason: null,
    error_code: null,
    stages: [{ ...stage, rtt_ns: null, clock_offset_ns: null, clock_uncertainty_ns: null }],
    steps,
    steps_forgotten: 0,
    layers_forgotten: 0,
  };
  const { prefill, decode } = summarizeTrace(trace);
  expect(prefill).toMatchObject({ steps: 1, rows: 8, stepMs: 40, elsewhereMs: 8 });
  expect(decode).toMatchObject({ steps: 3, rows: 3, stepMs: 40, elsewhereMs: 30 });
  const [only] = must(decode, "decode").stages;
  expect(only).toEqual({
    stage: 0,
    node: "host",
    units: "0:3",
    queueMs: 1,
    computeMs: 8,
    serializeMs: 1,
    hopMs: 0,
    share: 0.25,
    slowest: { unit: 1, role: "mlp", ms: 8 },
  });
  expect(summarizeTrace({ ...trace, steps: [], stages: [] })).toEqual({ prefill: null, decode: null });
});
