import { z } from "zod";
import { OBSERVE_LEVELS, ROLE_GROUPS, ROLES } from "../observe/index.ts";
import { bytes, count, durationNs, momentNs, signedNs, text } from "./fields.ts";
import { buildCommon, buildHeader } from "./header-schema.ts";
import { LOG_STREAMS, type LogStream, nameSchema } from "./streams.ts";

const HOOK_LEVELS = ["layer", "role", "node"] as const;
const SEGMENT_ROLES = [...new Set(["total", ...ROLE_GROUPS, ...ROLES] as const)];

const phase = z.enum(["prefill", "decode"]).describe("whether a prompt is read or tokens are made");
const requestIds = z.array(z.string()).describe("the requests whose rows this step computes");
const rows = count("positions computed in this step, of all its requests");
const contextTokens = count("largest context among its requests, this step's rows included, tokens");
const epoch = count("number of the plan in force");
const stepId = count("number of the step within its epoch");

const requestStart = z.strictObject({
  ...buildCommon("request"),
  event_type: z.literal("start"),
  request_id: text("the request"),
  start_mono_ns: momentNs("when it was accepted, on the coordinator's monotonic clock"),
  prompt_tokens: count("tokens of the prompt"),
  max_tokens: count("tokens that it may generate at most"),
  prompt: z
    .string()
    .nullable()
    .describe("the prompt's text, cut behind 131072 UTF-16 units; null unless texts were asked for"),
});

const requestEnd = z.strictObject({
  ...buildCommon("request"),
  event_type: z.literal("end"),
  request_id: text("the request"),
  start_mono_ns: momentNs("when it was accepted, on the coordinator's monotonic clock"),
  first_step_mono_ns: momentNs("when its first step was sent; null when none was").nullable(),
  first_token_mono_ns: momentNs("when its first token came back; null when none did").nullable(),
  end_mono_ns: momentNs("when it ended"),
  duration_ns: durationNs("from accepted to ended"),
  time_to_first_token_ns: durationNs("from accepted to the first token; null when there was none").nullable(),
  prompt_tokens: count("tokens of the prompt"),
  generated_tokens: count("tokens that it generated"),
  inter_token_count: count("gaps between its tokens; inter_token_ns holds the first 16384 of them"),
  inter_token_ns: z.array(z.number().int().nonnegative()).max(16_384).describe("gaps between its tokens, ns"),
  finish_reason: text("why it ended: stop, length, ...; null when an error ended it").nullable(),
  error_code: text("code of the error that ended it; null when none did").nullable(),
  temperature: z.number().describe("temperature of its sampler"),
  seed: z.number().describe("seed of its sampler"),
  max_tokens: count("tokens that it may generate at most"),
});

const stageOfStep = z.strictObject({
  stage: count("number of the stage, from 0"),
  node_id: text("the worker that holds it"),
  queue_ns: durationNs("waited for the engine"),
  compute_ns: durationNs("in the engine"),
  serialize_ns: durationNs("making the frame for the next stage"),
  hop_ns: signedNs("estimate of the way into this stage; null while unknown").nullable(),
  bytes_in: bytes("the frame that came in"),
});

const step = z.strictObject({
  ...buildCommon("step"),
  event_type: z.literal("step"),
  step_id: stepId,
  epoch,
  request_ids: requestIds,
  sampled_request_ids: z
    .array(text("a request"))
    .describe("those of them that got a token: none of a piece of a prompt before its end"),
  phase,
  rows,
  context_tokens: contextTokens,
  level: z.enum(OBSERVE_LEVELS).describe("how closely this step was looked at"),
  sent_mono_ns: momentNs("when it was sent, on the coordinator's monotonic clock"),
  received_mono_ns: momentNs("when its answer came back, on the coordinator's monotonic clock"),
  duration_ns: durationNs("from sent to received"),
  stages: z.array(stageOfStep).describe("what each stage spent, in order"),
});

const layer = z.strictObject({
  ...buildCommon("layer"),
  event_type: z.literal("layer"),
  step_id: stepId,
  epoch,
  request_ids: requestIds,
  stage: count("number of the stage, from 0"),
  node_id: text("the worker that holds it"),
  phase,
  rows,
  context_tokens: contextTokens,
  level: z.enum(HOOK_LEVELS).describe("how finely the step is divided"),
  step_ns: durationNs("the engine's whole time for the step, hooks included"),
  hook_ns: durationNs("time outside the segments: what looking costs, and what lies around the graph"),
  arrival_node_ns: momentNs("frame arrived, on the worker's own monotonic clock"),
  compute_start_node_ns: momentNs("engine began, on the worker's own monotonic clock"),
  compute_end_node_ns: momentNs("engine ended, on the worker's own monotonic clock"),
  sent_node_ns: momentNs("result left, on the worker's own monotonic clock"),
  part: count("number of this row among those of one stage and step, from 0"),
  parts: count("how many rows the segments of one stage and step are written in"),
  segments: z
    .array(
      z.strictObject({
        unit: count("unit of the undivided model: 0 embedding, then the blocks, then the head"),
        role: z.enum(SEGMENT_ROLES).describe("what it is for: total at level layer"),
        start_ns: durationNs("from the beginning of the engine call"),
        duration_ns: durationNs("time of the segment"),
        nodes: count("graph nodes that compute something"),
      }),
    )
    .describe("what was computed between two synchronisations, in order"),
});

const link = z.strictObject({
  ...buildCommon("link"),
  event_type: z.literal("link"),
  from: text("node that measured"),
  to: text("node at the other end"),
  rtt_ns: durationNs("there and back"),
  payload_bytes: bytes("payload of the measurement"),
  clock_offset_ns: signedNs("monotonic clock of `to` minus that of `from`; null where not estimated").nullable(),
  clock_uncertainty_ns: durationNs("how far clock_offset_ns may be off; null where not estimated").nullable(),
});

const event = z.strictObject({
  ...buildCommon("event"),
  event_type: z.literal("event"),
  name: text("what happened, dotted and stable: worker.joined, stage.failed, log.rows_lost, ..."),
  severity: z.enum(["info", "warning", "error"]).describe("how much it matters"),
  node_id: text("the node that it happened on or to; null for none").nullable(),
  message: text("in words"),
  details: z.record(z.string(), z.unknown()).describe("machine-readable facts; names carry their units"),
});

const plan = z.strictObject({
  ...buildCommon("plan"),
  event_type: z.literal("plan"),
  epoch,
  split: text("stages as A:B,B:C,..."),
  hash: text("SHA-256 over the plan's stages, hex: equal for equal plans, whatever the epoch"),
  reason: text("why this plan was made"),
  stages: z
    .array(
      z.strictObject({
        stage: count("number of the stage, from 0"),
        node_id: text("the worker that holds it; null as long as none does").nullable(),
        units: text("half-open range of units, A:B"),
      }),
    )
    .describe("who holds what"),
});

const node = z.strictObject({
  ...buildCommon("node"),
  event_type: z.literal("node"),
  node_id: text("the worker"),
  name: text("its name"),
  units: text("half-open range of units, A:B; null without a stage").nullable(),
  state: text("joining, loading, ready, standby, draining or lost"),
  rss_bytes: bytes("resident memory of its stage host"),
  weights_bytes: bytes("weights that it holds"),
  kv_bytes: bytes("KV cache"),
  compute_bytes: bytes("the engine's compute buffers"),
  sessions: count("sessions that it holds"),
});

const HEADERS = {
  request: buildHeader("request"),
  step: buildHeader("step"),
  layer: buildHeader("layer"),
  link: buildHeader("link"),
  event: buildHeader("event"),
  plan: buildHeader("plan"),
  node: buildHeader("node"),
};

export const ROW_SCHEMAS = {
  request: z.discriminatedUnion("event_type", [HEADERS.request, requestStart, requestEnd]),
  step: z.discriminatedUnion("event_type", [HEADERS.step, step]),
  layer: z.discriminatedUnion("event_type", [HEADERS.layer, layer]),
  link: z.discriminatedUnion("event_type", [HEADERS.link, link]),
  event: z.discriminatedUnion("event_type", [HEADERS.event, event]),
  plan: z.discriminatedUnion("event_type", [HEADERS.plan, plan]),
  node: z.discriminatedUnion("event_type", [HEADERS.node, node]),
};

export type LogHeader = { [S in LogStream]: z.infer<(typeof HEADERS)[S]> }[LogStream];
export type RequestStartRow = z.infer<typeof requestStart>;
export type RequestEndRow = z.infer<typeof requestEnd>;

/** The rows of each stream, headers apart. */
export interface LogRows {
  readonly request: RequestStartRow | RequestEndRow;
  readonly step: z.infer<typeof step>;
  readonly layer: z.infer<typeof layer>;
  readonly link: z.infer<typeof link>;
  readonly event: z.infer<typeof event>;
  readonly plan: z.infer<typeof plan>;
  readonly node: z.infer<typeof node>;
}

export type LogRow = LogRows[LogStream];

/** The schema of each stream's lines (header and rows) by its name, as published in `schemas/`. */
export const LOG_SCHEMAS: Readonly<Record<string, z.ZodType>> = Object.fromEntries(
  LOG_STREAMS.map((stream) => [nameSchema(stream), ROW_SCHEMAS[stream]]),
);
