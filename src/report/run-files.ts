import { z } from "zod";
import { type ModelPlan, readModelPlan } from "../placement/index.ts";
import type { PlanFacts, PlanForecast, RunSummary, SurvivedDeath } from "./inputs.ts";

const MODEL_PLAN = "noodle.model_plan.v1";

const planSchema = z.object({
  model: z.string().nullish(),
  split: z.string(),
  threads: z.number().nullish(),
  stages: z.array(z.object({ units: z.string(), bytes: z.number().nullish() })).default([]),
});

const span = z.number().min(0).nullable();
const moments = z.array(z.number().min(0)).max(100_000);

const deathSchema = z.object({
  worker: z.string(),
  units: z.string(),
  stages_before: z.array(z.string()).max(4096),
  stages_after: z.array(z.string()).max(4096),
  cause: z.string().nullable(),
  killed_behind_token: z.int().min(0),
  killed_ms: z.number().min(0),
  resumed_ms: span,
  detect_ms: span,
  replan_ms: span,
  refill_ms: span,
  next_token_ms: span,
  back_ms: span,
  tokens_refilled: span,
  equal_tokens: z.int().min(0),
  identical_logits: z.boolean(),
  identical_kv: z.boolean(),
  tokens_ms: moments,
  undisturbed_tokens_ms: moments,
});

const summarySchema = z.object({
  verdict: z.array(z.string()).default([]),
  decode_tokens_per_sec: z.number().nullish(),
  undivided_tokens_per_sec: z.number().nullish(),
  ttft_ms: z.number().nullish(),
  predicted: z
    .object({
      figures: z
        .array(
          z.object({
            name: z.string(),
            unit: z.string(),
            predicted: z.number().min(0).nullable(),
            measured: z.number().min(0).nullable(),
          }),
        )
        .max(4096),
    })
    .nullish(),
  recovery: deathSchema.nullish(),
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

/**
 * What the report needs of a parsed `plan.json`; null when it is none.
 *
 * @throws NoodleError `PLAN_INVALID` for a plan that is not sound
 */
export function parsePlan(value: unknown): PlanFacts | null {
  if (typeof value === "object" && value !== null && "schema" in value && value.schema === MODEL_PLAN)
    return describePlan(readModelPlan(value));
  const result = planSchema.safeParse(value);
  if (!result.success) return null;
  const { model, split, threads, stages } = result.data;
  return {
    forecast: null,
    model: model ?? null,
    split,
    threads: threads ?? null,
    stages: stages.map(({ units, bytes }) => ({ units, bytes: bytes ?? null })),
  };
}

function describePlan(plan: ModelPlan): PlanFacts {
  return {
    forecast: foretell(plan),
    model: plan.model.name,
    split: plan.split ?? "",
    threads: null,
    stages: plan.stages.map(({ units, weights_bytes: bytes }) => ({ units, bytes })),
  };
}

function foretell({ predicted, stages, alternatives, alone, bound, workload, notes }: ModelPlan): PlanForecast | null {
  if (predicted === null) return null;
  return {
    stages: stages.map((stage) => ({
      node: stage.node,
      units: stage.units,
      decodeMs: stage.decode_ms,
      prefillMs: stage.prefill_ms,
      busyRatio: stage.busy_ratio,
      why: stage.why,
    })),
    tokensPerS: predicted.tokens_per_s,
    itlMs: predicted.itl_ms,
    streams: workload.streams,
    bound: bound === null ? null : { gap: bound.gap, proven: bound.proven },
    binds: predicted.bottleneck.words,
    others: [
      ...alternatives.map((plan) => ({
        name: plan.what,
        stages: `${plan.split} on ${plan.order.join(", ")}`,
        tokensPerS: plan.tokens_per_s,
        itlMs: plan.itl_ms,
      })),
      ...alone.flatMap(({ node, tokens_per_s, itl_ms }) =>
        tokens_per_s === null
          ? []
          : [{ name: `${node} alone`, stages: "all", tokensPerS: tokens_per_s, itlMs: itl_ms }],
      ),
    ],
    notes,
  };
}

/** What the report needs of a parsed `summary.json`; null when it is none. */
export function parseSummary(value: unknown): RunSummary | null {
  const result = summarySchema.safeParse(value);
  if (!result.success) return null;
  const { verdict, decode_tokens_per_sec, undivided_tokens_per_sec, ttft_ms, predicted, stages, recovery } =
    result.data;
  return {
    verdict,
    decodeTokensPerS: decode_tokens_per_sec ?? null,
    undividedTokensPerS: undivided_tokens_per_sec ?? null,
    ttftMs: ttft_ms ?? null,
    death: recovery ? describeDeath(recovery) : null,
    figures: (predicted?.figures ?? []).flatMap(({ name, unit, predicted: foretold, measured }) =>
      foretold === null || measured === null || measured === 0 ? [] : [{ name, unit, predicted: foretold, measured }],
    ),
    stages: stages.map((stage) => ({
      node: stage.node,
      units: stage.units ?? null,
      computeMsP50: stage.compute_ms_p50,
      queueMsP50: stage.queue_ms_p50 ?? null,
      hopMsP50: stage.hop_ms_p50 ?? null,
    })),
  };
}

function describeDeath(death: z.infer<typeof deathSchema>): SurvivedDeath {
  return {
    worker: death.worker,
    units: death.units,
    before: death.stages_before,
    after: death.stages_after,
    cause: death.cause,
    killedBehind: death.killed_behind_token,
    killedMs: death.killed_ms,
    resumedMs: death.resumed_ms,
    detectMs: death.detect_ms,
    replanMs: death.replan_ms,
    refillMs: death.refill_ms,
    nextTokenMs: death.next_token_ms,
    backMs: death.back_ms,
    tokensRefilled: death.tokens_refilled,
    equalTokens: death.equal_tokens,
    identicalLogits: death.identical_logits,
    identicalKv: death.identical_kv,
    tokensMs: death.tokens_ms,
    undisturbedMs: death.undisturbed_tokens_ms,
  };
}
