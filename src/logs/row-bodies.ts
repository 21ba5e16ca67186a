import { createHash } from "node:crypto";
import {
  type EventRecord,
  type LayerRecord,
  type LinkRecord,
  type NodeRecord,
  type PlanRecord,
  type RequestRecord,
  type StepRecord,
  writeStageTimes,
} from "../observe/index.ts";
import type { LogRows } from "./schemas.ts";
import type { LogStream } from "./streams.ts";

type CommonKey = "schema" | "seq" | "mono_ns" | "time_unix_ns" | "run_id" | "producer_id";
type WithoutCommon<Row> = Row extends unknown ? Omit<Row, CommonKey> : never;

/** A row without what the writer puts in front of every row. */
export type RowBody<Stream extends LogStream> = WithoutCommon<LogRows[Stream]>;

/** Texts and lists are cut here so that no line reaches `MAX_LINE_BYTES`: one UTF-16 unit is six bytes at most. */
export const MAX_PROMPT_CHARS: number = 2 ** 17;
export const MAX_INTER_TOKEN_GAPS: number = 2 ** 14;
export const MAX_SEGMENTS_PER_ROW: number = 2 ** 12;

export function writeRequestRow(record: RequestRecord, includeText: boolean): RowBody<"request"> {
  if (record.type === "start") {
    return {
      event_type: "start",
      request_id: record.requestId,
      start_mono_ns: round(record.monoNs),
      prompt_tokens: record.promptTokens,
      max_tokens: record.maxTokens,
      prompt: includeText && record.prompt !== null ? record.prompt.slice(0, MAX_PROMPT_CHARS) : null,
    };
  }
  return {
    event_type: "end",
    request_id: record.requestId,
    start_mono_ns: round(record.startMonoNs),
    first_step_mono_ns: roundOrNull(record.firstStepMonoNs),
    first_token_mono_ns: roundOrNull(record.firstTokenMonoNs),
    end_mono_ns: round(record.monoNs),
    duration_ns: span(record.startMonoNs, record.monoNs),
    time_to_first_token_ns: record.firstTokenMonoNs === null ? null : span(record.startMonoNs, record.firstTokenMonoNs),
    prompt_tokens: record.promptTokens,
    generated_tokens: record.generatedTokens,
    inter_token_count: record.interTokenNs.length,
    inter_token_ns: record.interTokenNs.slice(0, MAX_INTER_TOKEN_GAPS).map(duration),
    finish_reason: record.finishReason,
    error_code: record.errorCode,
    temperature: record.temperature,
    seed: record.seed,
    max_tokens: record.maxTokens,
  };
}

export function writeStepRow(record: StepRecord): RowBody<"step"> {
  return {
    event_type: "step",
    step_id: record.stepId,
    epoch: record.epoch,
    request_ids: [...record.requestIds],
    sampled_request_ids: [...record.sampledRequestIds],
    phase: record.phase,
    rows: record.rows,
    context_tokens: record.contextTokens,
    level: record.level,
    sent_mono_ns: round(record.sentMonoNs),
    received_mono_ns: round(record.receivedMonoNs),
    duration_ns: span(record.sentMonoNs, record.receivedMonoNs),
    stages: record.stages.map(writeStageTimes),
  };
}

/** One row, or several for a stage with more segments than a line takes. */
export function writeLayerRows(record: LayerRecord): RowBody<"layer">[] {
  const parts = Math.max(1, Math.ceil(record.segments.length / MAX_SEGMENTS_PER_ROW));
  return Array.from({ length: parts }, (_, part) => ({
    event_type: "layer",
    step_id: record.stepId,
    epoch: record.epoch,
    request_ids: [...record.requestIds],
    stage: record.stage,
    node_id: record.nodeId,
    phase: record.phase,
    rows: record.rows,
    context_tokens: record.contextTokens,
    level: record.level,
    step_ns: duration(record.stepNs),
    hook_ns: duration(record.hookNs),
    arrival_node_ns: round(record.arrivalNodeNs),
    compute_start_node_ns: round(record.computeStartNodeNs),
    compute_end_node_ns: round(record.computeEndNodeNs),
    sent_node_ns: round(record.sentNodeNs),
    part,
    parts,
    segments: record.segments.slice(part * MAX_SEGMENTS_PER_ROW, (part + 1) * MAX_SEGMENTS_PER_ROW).map((segment) => ({
      unit: segment.unit,
      role: segment.role,
      start_ns: duration(segment.startNs),
      duration_ns: duration(segment.durationNs),
      nodes: segment.nodes,
    })),
  }));
}

export function writeLinkRow(record: LinkRecord): RowBody<"link"> {
  return {
    event_type: "link",
    from: record.from,
    to: record.to,
    rtt_ns: duration(record.rttNs),
    payload_bytes: record.payloadBytes,
    clock_offset_ns: roundOrNull(record.clockOffsetNs),
    clock_uncertainty_ns: record.clockUncertaintyNs === null ? null : duration(record.clockUncertaintyNs),
  };
}

export function writeNodeRow(record: NodeRecord): RowBody<"node"> {
  return {
    event_type: "node",
    node_id: record.nodeId,
    name: record.name,
    units: record.units,
    state: record.state,
    rss_bytes: record.rssBytes,
    weights_bytes: record.weightsBytes,
    kv_bytes: record.kvBytes,
    compute_bytes: record.computeBytes,
    sessions: record.sessions,
  };
}

export function writePlanRow(record: PlanRecord): RowBody<"plan"> {
  return {
    event_type: "plan",
    epoch: record.epoch,
    split: record.split,
    hash: hashPlan(record),
    reason: record.reason,
    stages: record.stages.map((stage) => ({ stage: stage.stage, node_id: stage.nodeId, units: stage.units })),
  };
}

export function writeEventRow(record: EventRecord): RowBody<"event"> {
  return {
    event_type: "event",
    name: record.name,
    severity: record.severity,
    node_id: record.nodeId,
    message: record.message,
    details: { ...record.details },
  };
}

/** Names a plan by what it says, so that the same plan of another epoch or run has the same hash. SHA-256, hex. */
export function hashPlan(plan: Pick<PlanRecord, "split" | "stages">): string {
  const stages = plan.stages.map((stage) => [stage.stage, stage.nodeId, stage.units]);
  return createHash("sha256")
    .update(JSON.stringify([plan.split, stages]))
    .digest("hex");
}

// Times come from subtractions and halvings of clock readings: whole numbers are made here, in one place.
function round(ns: number): number {
  return Math.round(ns);
}

function roundOrNull(ns: number | null): number | null {
  return ns === null ? null : Math.round(ns);
}

function duration(ns: number): number {
  return Math.max(0, Math.round(ns));
}

function span(fromNs: number, toNs: number): number {
  return duration(toNs - fromNs);
}
