import { z } from "zod";

const ms = z.number();
const estimate = z.object({ mean: z.number(), low: z.number(), high: z.number() });
const compared = z.object({
  predicted: z.number(),
  /** Over the repetitions, with a 95% interval (Student's t). */
  measured: estimate,
  /** Predicted / measured - 1, and the same at the ends of the interval. */
  error: estimate,
});
const inPlace = z.object({ rows: z.int(), ratio: z.number(), calls: z.int() });
const summary = z.object({ mean_absolute: z.number(), max_absolute: z.number(), mean_signed: z.number() });
const figures = z.object({
  tokens_per_s: z.number(),
  ttft_ms: ms,
  itl_ms: ms,
  stages: z.array(z.object({ decode_ms: ms.nullable(), prefill_ms: ms.nullable(), busy_ratio: z.number() })),
});

/** `noodle.validation.v1`: what was predicted of plans, beside what they gave. */
export const validationSchema = z.object({
  schema: z.literal("noodle.validation.v1"),
  noodlecore_version: z.string(),
  model: z.object({
    name: z.string().nullable(),
    architecture: z.string(),
    header_sha256: z.string().nullable(),
    units: z.int(),
    embedding_length: z.int(),
  }),
  machine: z.object({ cpu: z.string(), cores: z.int() }),
  threads: z.int(),
  repetitions: z.int(),
  load: z.object({
    streams: z.int(),
    requests: z.int(),
    prompt_tokens: z.int(),
    gen_tokens: z.int(),
    context_tokens: z.int(),
  }),
  /** In the order in which plans count them: times that each call is made to take as long. */
  workers: z.array(z.object({ name: z.string(), slowness: z.number() })),
  /** Of every way into a worker; null = as they are. */
  links: z.object({ latency_ms: ms, jitter_ms: ms, bytes_per_ms: z.number().nullable() }).nullable(),
  /** Measured apart from the runs that are judged. */
  calibration: z.object({
    ring_ms: ms,
    hop_ms: ms,
    hop_ms_per_byte: z.number(),
    turn_ms: ms,
    open_ms: ms,
    close_ms: ms,
    /** Calls of so many rows in a worker / in the profile. */
    in_place: z.object({ decode: z.array(inPlace), prefill: z.array(inPlace) }),
    /** Calls of so many processes at once / of one alone. */
    co_run: z.object({ processes: z.int(), decode: z.number(), prefill: z.number() }),
  }),
  plans: z.array(
    z.object({
      name: z.string(),
      split: z.string(),
      /** Of each stage, its worker's place in `workers`. */
      order: z.array(z.int()),
      policy: z.object({
        decode_in_flight: z.int(),
        max_decode_rows: z.int(),
        prefill_rows: z.int(),
        mixed_prefill_rows: z.int(),
        max_hole: z.int(),
        least_decode_rows: z.int(),
      }),
      /** Share by which stages that compute at once were taken to slow one another down. */
      co_run_ratio: z.number(),
      predicted: figures,
      /** Of each repetition. */
      measured: z.array(figures),
      tokens_per_s: compared,
      ttft_ms: compared,
      itl_ms: compared,
      stages: z.array(z.object({ decode_ms: compared.nullable(), prefill_ms: compared.nullable() })),
    }),
  ),
  summary: z.object({
    tokens_per_s: summary,
    ttft_ms: summary,
    itl_ms: summary,
    rank_correlation: z.number(),
    regret: z.number(),
    goals: z.array(
      z.object({
        name: z.string(),
        value: z.number(),
        limit: z.number(),
        side: z.enum(["most", "least"]),
        met: z.boolean(),
      }),
    ),
  }),
  notes: z.array(z.string()),
});

export type ValidationDocument = Readonly<z.infer<typeof validationSchema>>;
