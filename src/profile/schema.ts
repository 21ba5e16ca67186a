import { z } from "zod";
import { OBSERVE_LEVELS, ROLE_GROUPS, ROLES } from "../observe/index.ts";
import type { CostModelDocument, ProfileDocument } from "./types.ts";

/** Names and words in a document: longer ones are no names. */
const MAX_TEXT = 4096;
/** A class with more places on an axis was not measured by hand or program. */
const MAX_AXIS = 1024;
/** More than any model has. */
const MAX_UNITS = 4096;
const MAX_ITEMS = 1_000_000;

const text = z.string().max(MAX_TEXT);
const count = z.int().min(0);
const figure = z.number().min(0);
const ratio = z.number();
const list = <T extends z.ZodType>(item: T, most = MAX_ITEMS) => z.array(item).max(most).readonly();

const phase = z.enum(["prefill", "decode"]);
const role = z.enum([...new Set(["total", ...ROLE_GROUPS, ...ROLES] as const)]);
const bound = z.enum(["memory", "compute", "overhead"]);
const hookLevel = z.enum(OBSERVE_LEVELS).extract(["layer", "role", "node"]);

interface Grid {
  readonly rows: readonly number[];
  readonly contexts: readonly number[];
  readonly ms: readonly (readonly unknown[])[];
}

function isGrid({ rows, contexts, ms }: Grid): boolean {
  const rises = (axis: readonly number[]) =>
    axis.every((value, index) => index === 0 || value > (axis[index - 1] ?? 0));
  const fits = ms.length === rows.length && ms.every((line) => line.length === contexts.length);
  return fits && rises(rows) && rises(contexts);
}

const costTable = z
  .object({
    rows: list(z.int().min(1), MAX_AXIS),
    contexts: list(count, MAX_AXIS),
    ms: list(list(figure.nullable(), MAX_AXIS), MAX_AXIS),
    loo_error_ratio: figure.nullable(),
  })
  .refine(isGrid, "rows and contexts must rise, and ms must have a line for each of the rows, a cell for each context")
  .readonly()
  .describe("ms[i][j] is the time of one unit at rows[i] and contexts[j]; null where it was not measured");

const costClass = z
  .object({
    name: text,
    units: list(count, MAX_UNITS),
    weights_bytes: count,
    kv_bytes_per_token: count,
    decode: costTable,
    prefill: costTable,
  })
  .readonly();

/** `noodle.cost_model.v1`. Keys that are not known are left out. */
export const costModelSchema = z
  .object({
    schema: z.literal("noodle.cost_model.v1"),
    threads: z.int().min(1),
    step_overhead_ms: z
      .object({ decode: figure, prefill: figure })
      .readonly()
      .describe("what one engine call costs beside its units"),
    classes: list(costClass, MAX_UNITS),
  })
  .readonly();

const machine = z
  .object({
    name: text,
    platform: text,
    cpu_model: text,
    cores: z.int().min(1),
    cpu_features: list(text, MAX_AXIS),
    cache_bytes: z.object({ l1d: count, l2: count, l3: count }).readonly(),
    memory_total_bytes: count,
    memory_gb_per_s: figure,
    memory_measured_by: text,
    compute_gflops: figure,
    compute_measured_by: text,
    engine_build: text,
    engine_variant: text,
    device: text,
  })
  .readonly();

const model = z
  .object({
    name: text.nullable(),
    architecture: text,
    header_sha256: text.nullable(),
    path: text.nullable(),
    file_bytes: count,
    unit_count: z.int().min(2).max(MAX_UNITS),
    embedding_length: count,
    vocabulary: count,
    weight_type: text,
  })
  .readonly();

const settings = z
  .object({
    units: z.string().regex(/^\d+:\d+$/),
    threads: z.int().min(1),
    level: hookLevel,
    prefill_rows: list(z.int().min(1), MAX_AXIS),
    decode_rows: list(z.int().min(1), MAX_AXIS),
    contexts: list(count, MAX_AXIS),
    budget_ms: figure.nullable(),
    synthetic: z.boolean(),
    synthetic_blocks: count.nullable(),
  })
  .readonly();

const place = { phase, rows: z.int().min(1), context: count };

const row = z
  .object({
    unit: count,
    name: text,
    unit_class: text,
    role,
    ...place,
    n: count.describe("samples kept; 0 for a unit that others of its class stand for"),
    mean_ms: figure,
    p50_ms: figure,
    p95_ms: figure,
    sd_ms: figure,
    sync_ms: figure.describe("part of p50_ms that exists only because of the hooks"),
    weights_bytes: count,
    kv_bytes_per_token: count,
    activation_bytes_in: count,
    activation_bytes_out: count,
    shapes: z.record(text, list(count, 8)).readonly(),
    dtypes: z.record(text, text).readonly(),
    flops: figure,
    bytes_moved: figure,
    arithmetic_intensity: figure,
    achieved_gb_per_s: figure,
    achieved_gflops: figure,
    peak_bytes: figure,
    bound,
  })
  .readonly();

const cell = z
  .object({
    ...place,
    n: count,
    step_ms: figure,
    step_off_ms: figure,
    parts_ms: figure,
    hook_ms: figure,
    outside_ms: figure,
    missing_ratio: ratio,
    other_ratio: ratio,
  })
  .readonly();

const remedy = z
  .object({
    kind: z.enum(["weights", "threads", "rows", "chunk", "kv", "cut"]),
    words: text,
    gain_ratio: figure.max(1),
    because: text,
  })
  .readonly();

const bottleneck = z
  .object({
    ...place,
    unit: count.nullable(),
    name: text,
    unit_class: text,
    role,
    ms: figure,
    share: figure,
    bound,
    words: text,
    remedies: list(remedy, MAX_AXIS),
  })
  .readonly();

/** `noodle.profile.v1`. Keys that are not known are left out. */
export const profileSchema = z
  .object({
    schema: z.literal("noodle.profile.v1"),
    created_unix_ms: figure,
    noodlecore_version: text,
    machine,
    model,
    settings,
    partial: z.boolean(),
    partial_reason: text.nullable(),
    units: list(row),
    cells: list(cell),
    skipped: list(z.object({ ...place, reason: text }).readonly()),
    bottlenecks: list(bottleneck),
    cost_model: costModelSchema,
    summary: list(text),
  })
  .readonly();

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
type Assert<T extends true> = T;

/** Does not compile unless the schemas read exactly what the types say. */
export type SchemasMatchTypes = [
  Assert<Same<z.infer<typeof profileSchema>, ProfileDocument>>,
  Assert<Same<z.infer<typeof costModelSchema>, CostModelDocument>>,
];
