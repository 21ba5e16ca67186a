import { z } from "zod";
import type { LiveDocument } from "../metrics/index.ts";

const MAX_STAGES = 4096;

const quantiles = z.object({ n: z.number(), p50: z.number(), p95: z.number() });

const stagePhase = z.object({
  compute_ms: quantiles,
  queue_ms: quantiles,
  serialize_ms: quantiles,
  hop_ms: quantiles.nullable(),
  share: z.number(),
});

const liveSchema: z.ZodType<LiveDocument> = z.object({
  schema: z.literal("noodle.live.v1"),
  window_s: z.number(),
  window_steps: z.number(),
  tokens_per_s: z.object({ prompt: z.number(), generated: z.number() }),
  requests: z.object({ running: z.number(), waiting: z.number(), finished: z.number(), failed: z.number() }),
  ttft_ms: quantiles.nullable(),
  itl_ms: quantiles.nullable(),
  step_ms: z.object({ prefill: quantiles.nullable(), decode: quantiles.nullable() }),
  last_step_age_ms: z.number().nullable(),
  stages: z
    .array(
      z.object({
        stage: z.number(),
        node: z.string(),
        node_name: z.string(),
        units: z.string().nullable(),
        prefill: stagePhase.nullable(),
        decode: stagePhase.nullable(),
        busy_ratio: z.number(),
      }),
    )
    .max(MAX_STAGES),
  bottleneck: z
    .object({
      phase: z.enum(["prefill", "decode"]),
      kind: z.enum(["compute", "queue", "serialize", "hop", "coordinator"]),
      stage: z.number().nullable(),
      node: z.string().nullable(),
      ms: z.number(),
      share: z.number(),
      words: z.string(),
    })
    .nullable(),
});

/** Reads what a coordinator calls its live figures; null when it is nothing of the kind. */
export function readLive(value: unknown): LiveDocument | null {
  const result = liveSchema.safeParse(value);
  return result.success ? result.data : null;
}
