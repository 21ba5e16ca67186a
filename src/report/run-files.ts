import { z } from "zod";
import type { PlanFacts, RunSummary } from "./inputs.ts";

const planSchema = z.object({
  model: z.string().nullish(),
  split: z.string(),
  threads: z.number().nullish(),
  stages: z.array(z.object({ units: z.string(), bytes: z.number().nullish() })).default([]),
});

const summarySchema = z.object({
  verdict: z.array(z.string()).default([]),
  decode_tokens_per_sec: z.number().nullish(),
  undivided_tokens_per_sec: z.number().nullish(),
  ttft_ms: z.number().nullish(),
  stages: z
    .array(
      z.object({
        node: z.string(),
        units: z.string().nullish(),
        compute_ms_p50: z.number(),
        queue_ms_p50: z.number().nullish(),
        hop_ms_p50: z.number().nullish(),
      }),
    )
    .default([]),
});

/** What the report needs of a parsed `plan.json`; null when it is none. */
export function parsePlan(value: unknown): PlanFacts | null {
  const result = planSchema.safeParse(value);
  if (!result.success) return null;
  const { model, split, threads, stages } = result.data;
  return {
    model: model ?? null,
    split,
    threads: threads ?? null,
    stages: stages.map(({ units, bytes }) => ({ units, bytes: bytes ?? null })),
  };
}

/** What the report needs of a parsed `summary.json`; null when it is none. */
export function parseSummary(value: unknown): RunSummary | null {
  const result = summarySchema.safeParse(value);
  if (!result.success) return null;
  const { verdict, decode_tokens_per_sec, undivided_tokens_per_sec, ttft_ms, stages } = result.data;
  return {
    verdict,
    decodeTokensPerS: decode_tokens_per_sec ?? null,
    undividedTokensPerS: undivided_tokens_per_sec ?? null,
    ttftMs: ttft_ms ?? null,
    stages: stages.map((stage) => ({
      node: stage.node,
      units: stage.units ?? null,
      computeMsP50: stage.compute_ms_p50,
      queueMsP50: stage.queue_ms_p50 ?? null,
      hopMsP50: stage.hop_ms_p50 ?? null,
    })),
  };
}
