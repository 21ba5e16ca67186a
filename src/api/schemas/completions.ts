import { z } from "zod";
import type { ApiLimits } from "../limits.ts";
import { optional, PROMPT, samplingFields } from "./fields.ts";

export function buildCompletionRequest(limits: ApiLimits) {
  return z.object({
    ...samplingFields(limits),
    prompt: PROMPT,
    echo: optional(z.boolean()).describe("The prompt in front of the text, and of the log-probabilities."),
    logprobs: optional(z.int().min(0).max(limits.topLogprobs)).describe(
      "Log-probabilities of the tokens and of this many alternatives.",
    ),
    add_special_tokens: optional(z.boolean()).describe(
      "Extension. Begin-of-text in front of a prompt that is text, where the model wants it. Default true.",
    ),
    parse_special: optional(z.boolean()).describe(
      "Extension. Read `<|...|>` in a prompt that is text as special tokens. Default true.",
    ),
    best_of: optional(z.int()).describe("Refused unless it is 1."),
    suffix: optional(z.string()).describe("Refused unless it is empty."),
  });
}

export type CompletionRequest = z.infer<ReturnType<typeof buildCompletionRequest>>;

export const STAGE_TIMINGS = z.object({
  node: z.string(),
  name: z.string(),
  first_unit: z.int(),
  end_unit: z.int(),
  compute_ms_p50: z.number(),
  queue_ms_p50: z.number(),
  hop_ms_p50: z.number().nullable(),
  share: z.number().describe("Its part of the computing time of all stages, 0 to 1."),
});

export const TIMINGS = z
  .object({
    queue_ms: z.number().describe("From the request to its slot."),
    prefill_ms: z.number().describe("From there to the first token."),
    decode_ms: z.number().describe("From there to the last."),
    prompt_n: z.int(),
    predicted_n: z.int(),
    cached_n: z.int().describe("Prompt tokens that were computed before."),
    prompt_per_second: z.number(),
    predicted_per_second: z.number().describe("Tokens behind the first over the time behind the first."),
    stages: z.array(STAGE_TIMINGS),
  })
  .describe("Extension. Of several choices: counts are sums, times the longest.");

export const USAGE = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.object({ cached_tokens: z.int() }),
});

const LEGACY_LOGPROBS = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
  text_offset: z.array(z.int()),
});

const FINISH_REASON = z.enum(["stop", "length"]).nullable();

export const COMPLETION_RESPONSE = z.object({
  id: z.string(),
  object: z.literal("text_completion"),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      text: z.string(),
      logprobs: LEGACY_LOGPROBS.nullable(),
      finish_reason: FINISH_REASON,
    }),
  ),
  usage: USAGE.nullish(),
  timings: TIMINGS.optional(),
});
