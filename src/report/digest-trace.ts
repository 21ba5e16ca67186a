import { type LayerRecord, readStageTimes, type StepRecord } from "../observe/index.ts";
import type { RequestTrace, TraceLayers, TraceStep } from "../trace/index.ts";
import { Digester } from "./digest/digester.ts";
import type { RunDigest } from "./digest/run-digest.ts";

/** Reads the trace of one request as if it were the log of a run with this request alone. Pure. */
export function digestTrace(trace: RequestTrace): RunDigest | null {
  const digester = new Digester();
  // A trace knows no wall time: its own clock stands for it, since only differences are shown.
  const epoch = trace.steps[0]?.epoch ?? 0;
  const startMs = trace.start_mono_ns / 1e6;
  digester.addPlan(
    {
      epoch,
      split: trace.stages.map(({ units }) => units).join(","),
      stages: trace.stages.map(({ stage, node_id: nodeId, units }) => ({ stage, nodeId, units })),
      reason: "as traced",
    },
    startMs,
  );
  for (const stage of trace.stages) {
    digester.addNode(
      {
        nodeId: stage.node_id,
        name: stage.name,
        units: stage.units,
        state: "ready",
        // A trace does not know it.
        rssBytes: 0,
        weightsBytes: stage.weights_bytes,
        kvBytes: stage.kv_bytes,
        computeBytes: stage.compute_bytes,
        sessions: 1,
      },
      startMs,
    );
  }
  for (const step of trace.steps) {
    digester.addStep(readStep(step, trace.request_id), step.received_mono_ns / 1e6);
    for (const layers of step.layers)
      digester.addLayer(readLayers(step, layers, trace.request_id), step.sent_mono_ns / 1e6);
  }
  if (trace.end_mono_ns !== null) {
    const tokens = trace.steps.filter((step) => step.sampled).map((step) => step.received_mono_ns);
    digester.addRequest(
      {
        type: "end",
        requestId: trace.request_id,
        monoNs: trace.end_mono_ns,
        startMonoNs: trace.start_mono_ns,
        firstStepMonoNs: trace.first_step_mono_ns,
        firstTokenMonoNs: trace.first_token_mono_ns,
        promptTokens: trace.prompt_tokens,
        generatedTokens: trace.generated_tokens,
        interTokenNs: tokens.slice(1).map((ns, index) => ns - (tokens[index] ?? ns)),
        finishReason: trace.finish_reason,
        errorCode: trace.error_code,
        temperature: 0,
        seed: 0,
        maxTokens: trace.max_tokens,
      },
      trace.end_mono_ns / 1e6,
    );
  }
  return digester.finish();
}

function readStep(step: TraceStep, requestId: string): StepRecord {
  return {
    stepId: step.step_id,
    epoch: step.epoch,
    requestIds: [requestId],
    phase: step.phase,
    rows: step.rows,
    contextTokens: step.context_tokens,
    sentMonoNs: step.sent_mono_ns,
    receivedMonoNs: step.received_mono_ns,
    sampledRequestIds: step.sampled ? [requestId] : [],
    level: step.level,
    stages: step.stages.map(readStageTimes),
  };
}

function readLayers(step: TraceStep, layers: TraceLayers, requestId: string): LayerRecord {
  return {
    stepId: step.step_id,
    epoch: step.epoch,
    requestIds: [requestId],
    stage: layers.stage,
    nodeId: layers.node_id,
    phase: step.phase,
    rows: layers.rows,
    contextTokens: step.context_tokens,
    level: layers.level,
    segments: layers.segments.map(({ unit, role, start_ns: startNs, duration_ns: durationNs, nodes }) => ({
      unit,
      role,
      startNs,
      durationNs,
      nodes,
    })),
    stepNs: layers.step_ns,
    hookNs: layers.hook_ns,
    arrivalNodeNs: layers.arrival_node_ns,
    computeStartNodeNs: layers.compute_start_node_ns,
    computeEndNodeNs: layers.compute_end_node_ns,
    sentNodeNs: layers.sent_node_ns,
  };
}
