import { z } from "zod";
import { ROLE_GROUPS, ROLES } from "../observe/index.ts";

/**
 * `noodle.trace.v1`: one request over all stages, step by step. Names as in the JSON, units in the names. Times
 * `..._mono_ns` are of the coordinator's monotonic clock, `..._node_ns` of the monotonic clock of the node that stands
 * beside them: a node's time minus its `clock_offset_ns` is the coordinator's, within `clock_uncertainty_ns`.
 */

/** More than any request gives, so that a damaged file cannot ask for all memory. */
const MAX_STEPS = 1_000_000;
const MAX_STAGES = 4096;
const MAX_SEGMENTS = 1_000_000;
const MAX_TEXT = 4096;

const text = z.string().max(MAX_TEXT);
const count = z.number().int().nonnegative();
/** A monotonic clock of a machine that has been up for months is above 2^53 ns: then it is rounded, but whole. */
const clockNs = z
  .number()
  .nonnegative()
  .max(2 ** 63);
const durationNs = z
  .number()
  .nonnegative()
  .max(2 ** 53);
const signedNs = z
  .number()
  .min(-(2 ** 63))
  .max(2 ** 63);

const LEVELS = ["layer", "role", "node"] as const;

const SegmentSchema = z.object({
  unit: count,
  role: z.enum(["total", ...ROLE_GROUPS, ...ROLES]),
  /** From `compute_start_node_ns`. */
  start_ns: durationNs,
  duration_ns: durationNs,
  nodes: count,
});

const LayersSchema = z.object({
  stage: count,
  node_id: text,
  level: z.enum(LEVELS),
  /** Rows that the stage computed: only output rows behind the last block. */
  rows: count,
  step_ns: durationNs,
  hook_ns: durationNs,
  arrival_node_ns: clockNs,
  compute_start_node_ns: clockNs,
  compute_end_node_ns: clockNs,
  sent_node_ns: clockNs,
  /** Empty where the stage met the graph for the first time and did not time it. */
  segments: z.array(SegmentSchema).max(MAX_SEGMENTS),
});

const StageTimesSchema = z.object({
  stage: count,
  node_id: text,
  queue_ns: durationNs,
  compute_ns: durationNs,
  serialize_ns: durationNs,
  /** Estimate of the way into this stage; null while unknown. */
  hop_ns: durationNs.nullable(),
  bytes_in: count,
});

const StepSchema = z.object({
  step_id: count,
  epoch: count,
  phase: z.enum(["prefill", "decode"]),
  rows: count,
  context_tokens: count,
  level: z.enum(["off", "step", ...LEVELS]),
  sent_mono_ns: clockNs,
  received_mono_ns: clockNs,
  /** The request got a token of it: not so of a prefill chunk before the prompt's end. */
  sampled: z.boolean(),
  stages: z.array(StageTimesSchema).max(MAX_STAGES),
  /** Insides of the stages, as far as they have come. */
  layers: z.array(LayersSchema).max(MAX_STAGES),
});

const StageSchema = z.object({
  stage: count,
  node_id: text,
  name: text,
  units: text,
  weights_bytes: count,
  kv_bytes: count,
  compute_bytes: count,
  rtt_ns: durationNs.nullable(),
  clock_offset_ns: signedNs.nullable(),
  clock_uncertainty_ns: durationNs.nullable(),
});

export const RequestTraceSchema = z.object({
  schema: z.literal("noodle.trace.v1"),
  request_id: text,
  prompt_tokens: count,
  generated_tokens: count,
  max_tokens: count,
  start_mono_ns: clockNs,
  first_step_mono_ns: clockNs.nullable(),
  first_token_mono_ns: clockNs.nullable(),
  /** Null while it runs. */
  end_mono_ns: clockNs.nullable(),
  finish_reason: text.nullable(),
  error_code: text.nullable(),
  /** Holders of the stages, in order. */
  stages: z.array(StageSchema).max(MAX_STAGES),
  /** In the order of their answers. */
  steps: z.array(StepSchema).max(MAX_STEPS),
  /** Steps and insides that were more than is kept. */
  steps_forgotten: count,
  layers_forgotten: count,
});

export type RequestTrace = z.infer<typeof RequestTraceSchema>;
export type TraceStep = RequestTrace["steps"][number];
export type TraceLayers = TraceStep["layers"][number];
export type TraceStage = RequestTrace["stages"][number];
