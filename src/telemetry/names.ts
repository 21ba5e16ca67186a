/**
 * Names of attributes. Those of `gen_ai.*` follow the semantic conventions for generative AI, which are still in
 * development: this is the one place to change when they do.
 */
export const GEN_AI = {
  operationName: "gen_ai.operation.name",
  providerName: "gen_ai.provider.name",
  requestModel: "gen_ai.request.model",
  requestMaxTokens: "gen_ai.request.max_tokens",
  requestTemperature: "gen_ai.request.temperature",
  requestSeed: "gen_ai.request.seed",
  responseId: "gen_ai.response.id",
  responseModel: "gen_ai.response.model",
  responseFinishReasons: "gen_ai.response.finish_reasons",
  responseTimeToFirstChunk: "gen_ai.response.time_to_first_chunk",
  usageInputTokens: "gen_ai.usage.input_tokens",
  usageOutputTokens: "gen_ai.usage.output_tokens",
} as const;

export const ERROR_TYPE = "error.type";

/** What no convention has: the stages of a pipeline. Times in milliseconds. */
export const NOODLE = {
  rows: "noodle.rows",
  contextTokens: "noodle.context_tokens",
  stepId: "noodle.step_id",
  epoch: "noodle.epoch",
  steps: "noodle.sampled_steps",
  stage: "noodle.stage",
  node: "noodle.node",
  units: "noodle.units",
  queueMs: "noodle.queue_ms",
  computeMs: "noodle.compute_ms",
  serializeMs: "noodle.serialize_ms",
  hopMs: "noodle.hop_ms",
  bytesIn: "noodle.bytes_in",
  /** Durations are measured; where they lie on the coordinator's clock is not. */
  placement: "noodle.placement",
} as const;

export const PROVIDER = "noodlecore";

/** Names of the spans below a request; few and fixed, as backends group by them. */
export const SPAN = {
  queue: "noodle.queue",
  prefill: "noodle.prefill",
  decode: "noodle.decode",
  step: "noodle.step",
  stage: "noodle.stage",
} as const;
