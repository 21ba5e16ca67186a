import {
  type EventRecord,
  type LayerRecord,
  type LinkRecord,
  type NodeRecord,
  type PlanRecord,
  type RequestRecord,
  type StepRecord,
  readStageTimes,
} from "../observe/index.ts";
import type { LogRow, LogRows } from "./schemas.ts";

/** Who reads a log as the records that it was written from, each with its row: time, producer and run stand there. */
export interface LogVisitor {
  onRequest?(record: RequestRecord, row: LogRows["request"]): void;
  onStep?(record: StepRecord, row: LogRows["step"]): void;
  /** A stage with very many segments comes in several parts; the row says which. */
  onLayer?(record: LayerRecord, row: LogRows["layer"]): void;
  onLink?(record: LinkRecord, row: LogRows["link"]): void;
  onNode?(record: NodeRecord, row: LogRows["node"]): void;
  onPlan?(record: PlanRecord, row: LogRows["plan"]): void;
  onEvent?(record: EventRecord, row: LogRows["event"]): void;
}

/** Gives a row to the method of its stream, as a record; one that the visitor does not have costs nothing. */
export function visitRow(row: LogRow, visitor: LogVisitor): void {
  switch (row.schema) {
    case "noodle.request.v1":
      visitor.onRequest?.(readRequest(row), row);
      break;
    case "noodle.step.v1":
      visitor.onStep?.(readStep(row), row);
      break;
    case "noodle.layer.v1":
      visitor.onLayer?.(readLayer(row), row);
      break;
    case "noodle.link.v1":
      visitor.onLink?.(readLink(row), row);
      break;
    case "noodle.node.v1":
      visitor.onNode?.(readNode(row), row);
      break;
    case "noodle.plan.v1":
      visitor.onPlan?.(readPlan(row), row);
      break;
    case "noodle.event.v1":
      visitor.onEvent?.(readEvent(row), row);
      break;
    default:
      row satisfies never;
  }
}

function readRequest(row: LogRows["request"]): RequestRecord {
  if (row.event_type === "start") {
    return {
      type: "start",
      requestId: row.request_id,
      monoNs: row.start_mono_ns,
      promptTokens: row.prompt_tokens,
      maxTokens: row.max_tokens,
      prompt: row.prompt,
    };
  }
  return {
    type: "end",
    requestId: row.request_id,
    monoNs: row.end_mono_ns,
    startMonoNs: row.start_mono_ns,
    firstStepMonoNs: row.first_step_mono_ns,
    firstTokenMonoNs: row.first_token_mono_ns,
    promptTokens: row.prompt_tokens,
    generatedTokens: row.generated_tokens,
    interTokenNs: row.inter_token_ns,
    finishReason: row.finish_reason,
    errorCode: row.error_code,
    temperature: row.temperature,
    seed: row.seed,
    maxTokens: row.max_tokens,
  };
}

function readStep(row: LogRows["step"]): StepRecord {
  return {
    stepId: row.step_id,
    epoch: row.epoch,
    requestIds: row.request_ids,
    phase: row.phase,
    rows: row.rows,
    contextTokens: row.context_tokens,
    sentMonoNs: row.sent_mono_ns,
    receivedMonoNs: row.received_mono_ns,
    sampledRequestIds: row.sampled_request_ids,
    level: row.level,
    stages: row.stages.map(readStageTimes),
  };
}

function readLayer(row: LogRows["layer"]): LayerRecord {
  return {
    stepId: row.step_id,
    epoch: row.epoch,
    requestIds: row.request_ids,
    stage: row.stage,
    nodeId: row.node_id,
    phase: row.phase,
    rows: row.rows,
    contextTokens: row.context_tokens,
    level: row.level,
    stepNs: row.step_ns,
    hookNs: row.hook_ns,
    arrivalNodeNs: row.arrival_node_ns,
    computeStartNodeNs: row.compute_start_node_ns,
    computeEndNodeNs: row.compute_end_node_ns,
    sentNodeNs: row.sent_node_ns,
    segments: row.segments.map((segment) => ({
      unit: segment.unit,
      role: segment.role,
      startNs: segment.start_ns,
      durationNs: segment.duration_ns,
      nodes: segment.nodes,
    })),
  };
}

function readLink(row: LogRows["link"]): LinkRecord {
  return {
    from: row.from,
    to: row.to,
    rttNs: row.rtt_ns,
    payloadBytes: row.payload_bytes,
    clockOffsetNs: row.clock_offset_ns,
    clockUncertaintyNs: row.clock_uncertainty_ns,
  };
}

function readNode(row: LogRows["node"]): NodeRecord {
  return {
    nodeId: row.node_id,
    name: row.name,
    units: row.units,
    state: row.state,
    rssBytes: row.rss_bytes,
    weightsBytes: row.weights_bytes,
    kvBytes: row.kv_bytes,
    computeBytes: row.compute_bytes,
    sessions: row.sessions,
  };
}

function readPlan(row: LogRows["plan"]): PlanRecord {
  return {
    epoch: row.epoch,
    split: row.split,
    reason: row.reason,
    stages: row.stages.map((stage) => ({ stage: stage.stage, nodeId: stage.node_id, units: stage.units })),
  };
}

function readEvent(row: LogRows["event"]): EventRecord {
  return {
    name: row.name,
    severity: row.severity,
    nodeId: row.node_id,
    message: row.message,
    details: row.details,
  };
}
