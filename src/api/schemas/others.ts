import { z } from "zod";
import type { ApiLimits } from "../limits.ts";
import { boundedArray, boundedIds, modelField, optional, TOKEN_IDS } from "./fields.ts";

export const ERROR_RESPONSE = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string(),
  }),
});

export function buildEmbeddingsRequest(limits: ApiLimits) {
  return z.object({
    model: modelField(),
    input: z.union([z.string(), TOKEN_IDS, boundedArray(z.union([z.string(), TOKEN_IDS]), limits.prompts)]),
    encoding_format: optional(z.enum(["float", "base64"])),
    dimensions: optional(z.int().min(1)),
  });
}

export const TOKENIZE_REQUEST = z
  .object({
    model: modelField(),
    content: optional(z.string()).describe("The text; `prompt` says the same."),
    prompt: optional(z.string()),
    add_special_tokens: optional(z.boolean()).describe(
      "Begin-of-text in front where the model wants it. Default true for `prompt`, false for `content`.",
    ),
    add_special: optional(z.boolean()).describe("The same."),
    parse_special: optional(z.boolean()).describe("Read `<|...|>` as special tokens. Default true."),
    with_pieces: optional(z.boolean()).describe("Tokens as {id, piece}. Default false."),
  })
  .refine((body) => typeof body.content === "string" || typeof body.prompt === "string", {
    message: "content or prompt must be given",
  });

export const TOKENIZE_RESPONSE = z.object({
  tokens: z.array(z.union([z.int(), z.object({ id: z.int(), piece: z.union([z.string(), z.array(z.int())]) })])),
  count: z.int(),
  max_model_len: z.int(),
});

export function buildDetokenizeRequest(limits: ApiLimits) {
  return z.object({ model: modelField(), tokens: boundedIds(limits.tokenIds) });
}

export const DETOKENIZE_RESPONSE = z.object({ prompt: z.string(), content: z.string() });

export const TOKENIZER_INFO = z.object({
  vocab_size: z.int(),
  model_max_length: z.int(),
  bos_token: z.string().nullable(),
  eos_token: z.string().nullable(),
  pad_token: z.string().nullable(),
  bos_token_id: z.int().nullable(),
  eos_token_id: z.int().nullable(),
  chat_template: z.string().nullable(),
});

const MODEL_META = z.object({
  architecture: z.string(),
  n_params: z.int(),
  n_layer: z.int(),
  n_embd: z.int(),
  n_vocab: z.int(),
  n_ctx: z.int(),
  n_ctx_train: z.int().nullable(),
  size: z.int(),
  quantization: z.string(),
});

export const MODEL = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.literal("noodlecore"),
  max_model_len: z.int(),
  meta: MODEL_META,
});

export const MODEL_LIST = z.object({ object: z.literal("list"), data: z.array(MODEL) });

export const GENERATION = z.object({
  id: z.string(),
  object: z.literal("generation"),
  status: z.enum(["completed", "failed", "cancelled"]),
});

export const HEALTH_OK = z.object({ status: z.literal("ok") });
export const HEALTH_LOADING = z.object({
  error: z.object({ code: z.literal(503), message: z.string(), type: z.literal("unavailable_error") }),
});
export const LIVE = z.object({ status: z.literal("alive") });
export const READY = z.object({ status: z.string(), reason: z.string().nullable() });
export const STATUS = z.record(z.string(), z.unknown());
export const OPENAPI = z.record(z.string(), z.unknown());
