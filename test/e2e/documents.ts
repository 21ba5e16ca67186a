import { z } from "zod";

/** The documents of `--json` as outside programs rely on them: names, kinds of values, nothing beyond. */

const count = z.number().int().nonnegative();
const ms = z.number().nonnegative();
const units = z.string().regex(/^\d+:\d+$/);

export const InspectDocument = z.object({
  schema: z.literal("noodle.inspect.v1"),
  architecture: z.string(),
  name: z.string().nullable(),
  parameters: count,
  file_bytes: count,
  context_length: count,
  embedding_length: count,
  vocab_size: count,
  quantization: z.string(),
  tied_head: z.boolean(),
  units: z.array(
    z.object({
      index: count,
      name: z.string(),
      kind: z.enum(["embedding", "block", "head"]),
      bytes: count,
      parameters: count,
      tensors: z.array(z.string()),
      roles: z.object({ attention_bytes: count, mlp_bytes: count, norm_bytes: count, other_bytes: count }),
      kv_bytes_per_token: count,
    }),
  ),
  legal_cuts: z.array(count),
  illegal_cuts: z.array(z.object({ cut: count, reason: z.string() })),
});

export const GenerateDocument = z.object({
  schema: z.literal("noodle.generate.v1"),
  prompt_token_ids: z.array(count),
  token_ids: z.array(count),
  text: z.string(),
  finish_reason: z.enum(["stop", "length"]),
  ttft_ms: ms,
  decode_tokens_per_sec: z.number().nonnegative(),
  stages: z.array(
    z.object({
      node: z.string(),
      units,
      compute_ms_p50: ms,
      queue_ms_p50: ms,
      hop_ms_p50: ms.nullable(),
      weights_bytes: count,
      rss_bytes: count,
    }),
  ),
  verify: z
    .object({
      identical_tokens: z.boolean(),
      identical_logits: z.boolean(),
      identical_kv: z.boolean(),
      max_abs_logit_diff: z.number().nonnegative(),
      first_difference: z.string().nullable(),
    })
    .optional(),
});

export const StatusDocument = z.object({
  schema: z.literal("noodle.status.v1"),
  coordinator: z.object({
    observing: z.object({
      observed: z.boolean(),
      hooks: z.boolean(),
      sample_every: count,
      sample_level: z.enum(["layer", "role", "node"]),
      observations: count,
      observations_refused: count,
      observations_dropped: count,
      observer_failures: count,
    }),
  }),
  nodes: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      address: z.string().regex(/:\d+$/),
      pid: count,
      state: z.enum(["joining", "loading", "ready", "standby", "draining", "lost"]),
      units: units.nullable(),
      weights_bytes: count,
      weights_bytes_received: count,
      rss_bytes: count,
      rtt_ms: ms.nullable(),
      clock_offset_ms: z.number().nullable(),
      clock_uncertainty_ms: ms.nullable(),
      capabilities: z.object({
        cpu_model: z.string(),
        cpu_features: z.array(z.string()),
        cores: count,
        memory_total_bytes: count,
        memory_free_bytes: count,
        engine_build: z.string(),
        cpu_variant: z.string(),
        devices: z.array(z.unknown()),
        disk_free_bytes: count,
        data_directory: z.string(),
        protocol_version: count,
      }),
    }),
  ),
  stages: z.array(z.object({ units, node: z.string().nullable(), state: z.string(), host_pid: count.nullable() })),
  sessions: z.array(z.object({ id: z.string(), prompt_tokens: count, generated_tokens: count })),
  health: z.object({ status: z.enum(["ready", "waiting", "failed"]), reason: z.string().nullable() }),
});

export const ErrorDocument = z.object({
  schema: z.literal("noodle.error.v1"),
  code: z.string(),
  message: z.string(),
  cure: z.string(),
  retryable: z.boolean(),
});

const UpWorkers = z.array(z.object({ name: z.string(), address: z.string(), pid: count, units: units.nullable() }));

export const UpDocument = z.object({
  schema: z.literal("noodle.up.v1"),
  grpc_address: z.string(),
  http_address: z.string(),
  api_url: z.url(),
  pid: count,
  context_tokens: count,
  workers: UpWorkers,
  models: z
    .array(
      z.object({
        id: z.string(),
        path: z.string(),
        grpc_address: z.string(),
        context_tokens: count,
        workers: UpWorkers,
      }),
    )
    .min(1),
});
