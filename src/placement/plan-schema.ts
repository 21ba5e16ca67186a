import { z } from "zod";
import type { ModelPlan } from "./plan-types.ts";

const MAX_TEXT = 8192;
const MAX_UNITS = 4096;
const MAX_ITEMS = 65_536;

const text = z.string().max(MAX_TEXT);
const name = z.string().min(1).max(256);
const count = z.int().min(0);
const figure = z.number().min(0);
const list = <T extends z.ZodType>(item: T, most = MAX_ITEMS) => z.array(item).max(most).readonly();
const split = z
  .string()
  .regex(/^\d{1,5}:\d{1,5}(,\d{1,5}:\d{1,5})*$/)
  .max(MAX_TEXT * 8);
const objective = z.enum(["throughput", "latency", "pareto", "fewest_nodes"]);

const stage = z
  .object({
    node: name,
    first: count,
    end: count,
    units: z.string().regex(/^\d{1,5}:\d{1,5}$/),
    decode_ms: figure,
    prefill_ms: figure,
    busy_ratio: figure.max(1),
    weights_bytes: count,
    kv_bytes: count,
    reserve_bytes: count,
    memory_bytes: count.nullable(),
    why: text,
  })
  .readonly();

const policy = z
  .object({
    stages: z.int().min(1),
    decode_in_flight: z.int().min(1),
    max_decode_rows: z.int().min(1),
    prefill_rows: z.int().min(1),
    mixed_prefill_rows: z.int().min(1),
    slots: z.int().min(1),
    align: z.int().min(1),
  })
  .readonly();

const predicted = z
  .object({
    tokens_per_s: figure,
    itl_ms: figure,
    single_itl_ms: figure,
    ttft_ms: figure,
    prefill_tokens_per_s: figure,
    round_ms: figure.describe("one micro-batch through all stages and back"),
    period_ms: figure.describe("between two micro-batches when the pipeline is kept full"),
    bottleneck: z
      .object({ kind: z.enum(["stage", "hop", "round"]), stage: count.nullable(), ms: figure, words: text })
      .readonly(),
    extrapolated: z.boolean().describe("some of it lies outside what was measured"),
  })
  .readonly();

const alternative = z
  .object({
    what: text,
    split,
    order: list(name, MAX_UNITS),
    tokens_per_s: figure,
    itl_ms: figure,
    single_itl_ms: figure,
  })
  .readonly();

const baseline = z
  .object({
    name,
    rule: text,
    feasible: z.boolean(),
    split: split.nullable(),
    order: list(name, MAX_UNITS),
    tokens_per_s: figure.nullable(),
    itl_ms: figure.nullable(),
    reason: text.nullable(),
    ours_better_by: figure.nullable(),
  })
  .readonly();

/** `noodle.model_plan.v1`. Keys that are not known are left out. */
export const modelPlanSchema = z
  .object({
    schema: z.literal("noodle.model_plan.v1"),
    objective,
    feasible: z.boolean(),
    model: z
      .object({
        name: text.nullable(),
        architecture: text,
        header_sha256: text.nullable(),
        path: text.nullable(),
        units: z.int().min(2).max(MAX_UNITS),
        embedding_length: count,
      })
      .readonly(),
    workload: z
      .object({
        streams: z.int().min(1),
        context_tokens: z.int().min(1),
        mean_context_tokens: count,
        prompt_tokens: z.int().min(1),
        determinism: z.enum(["recorded", "strict"]),
      })
      .readonly(),
    split: split.nullable().describe("as --split takes it; null without a plan"),
    order: list(name, MAX_UNITS).describe("nodes in the order of the stages"),
    policy: policy.nullable(),
    stages: list(stage, MAX_UNITS),
    hops: list(
      z.object({ from: name, to: name, bytes: figure, latency_ms: figure, transfer_ms: figure }).readonly(),
      MAX_UNITS,
    ),
    predicted: predicted.nullable(),
    bound: z
      .object({
        unit: z.enum(["tokens_per_s", "ms", "nodes"]),
        found: figure,
        best_possible: figure,
        gap: figure.nullable(),
        proven: z.boolean(),
      })
      .readonly()
      .nullable(),
    algorithm: text,
    solve_ms: figure,
    time_limit_hit: z.boolean(),
    candidates: list(
      z
        .object({
          rows: count,
          in_flight: count,
          tokens_per_s: figure.nullable(),
          best_possible_tokens_per_s: figure,
          solved: z.boolean(),
        })
        .readonly(),
    ),
    alone: list(
      z
        .object({
          node: name,
          fits: z.boolean(),
          short_bytes: count,
          tokens_per_s: figure.nullable(),
          itl_ms: figure.nullable(),
        })
        .readonly(),
    ),
    alternatives: list(alternative),
    left_out: list(z.object({ node: name, words: text }).readonly()),
    baselines: list(baseline).optional(),
    growth: list(
      z.object({ like: name, tokens_per_s: figure, itl_ms: figure, nodes: count, better_by: figure }).readonly(),
    ).optional(),
    notes: list(text),
    infeasible_because: z
      .object({ words: text, remedies: list(text) })
      .readonly()
      .optional(),
  })
  .readonly();

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
type Assert<T extends true> = T;
/** Optional fields may be left out, and are never `undefined`: the one thing that the two say differently. */
type Written<T> = T extends readonly (infer I)[]
  ? readonly Written<I>[]
  : T extends object
    ? { readonly [K in keyof T]: Written<Exclude<T[K], undefined>> }
    : T;

/** Does not compile unless the schema reads exactly what the types say. */
export type SchemaMatchesType = Assert<
  Same<Written<Required<z.infer<typeof modelPlanSchema>>>, Written<Required<ModelPlan>>>
>;
