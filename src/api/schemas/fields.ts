import { z } from "zod";
import type { ApiLimits } from "../limits.ts";

/** Clients send null where they mean nothing: both are the default. */
export function optional<T extends z.ZodType>(schema: T): z.ZodOptional<z.ZodNullable<T>> {
  return schema.nullish();
}

/** An array whose length is checked before its items are looked at, so that a long wrong one costs nothing. */
export function boundedArray<T extends z.ZodType>(item: T, max: number): z.ZodPipe<z.ZodArray, z.ZodArray<T>> {
  return z.array(z.unknown()).max(max).pipe(z.array(item).max(max));
}

/** The same for an object's members. */
export function boundedRecord<T extends z.ZodRecord>(
  record: T,
  max: number,
): z.ZodPipe<z.ZodCustom<z.input<T>, z.input<T>>, T> {
  const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value);
  const tooMany = { message: `must have at most ${max} entries`, params: { limit: max } };
  return z
    .custom<z.input<T>>(isObject, "must be an object")
    .refine((value) => Object.keys(value).length <= max, tooMany)
    .pipe(record as never);
}

/** Text of so many UTF-8 bytes at most. */
export function boundedText(bytes: number): z.ZodString {
  return z
    .string()
    .max(bytes)
    .refine((text) => Buffer.byteLength(text) <= bytes, {
      message: `must have at most ${bytes} bytes of UTF-8`,
      params: { limit: bytes },
    });
}

export type Prompt = string | readonly number[] | readonly string[] | readonly (readonly number[])[];

/** Checked by hand: a union would look at every id once for each kind of prompt. */
export const PROMPT = z.custom<Prompt>(isPrompt, "must be text, token ids, or an array of either").meta({
  description: "Text, token ids, or several of either. The ids are used as they are.",
  oneOf: [
    { type: "string" },
    { type: "array", items: { type: "string" }, minItems: 1 },
    { type: "array", items: { type: "integer", minimum: 0 }, minItems: 1 },
    { type: "array", items: { type: "array", items: { type: "integer", minimum: 0 }, minItems: 1 }, minItems: 1 },
  ],
});

const IDS = z.custom<readonly number[]>(isIds, "must be an array of token ids");
const IDS_META = { description: "Token ids.", type: "array", items: { type: "integer", minimum: 0 } } as const;

export const TOKEN_IDS = IDS.meta(IDS_META);

/** So many token ids at most. */
export function boundedIds(max: number): typeof IDS {
  const tooMany = { message: `must have at most ${max} entries`, params: { limit: max } };
  return IDS.refine((ids) => ids.length <= max, tooMany).meta({ ...IDS_META, maxItems: max });
}

function isPrompt(value: unknown): boolean {
  if (typeof value === "string") return true;
  if (!Array.isArray(value) || value.length === 0) return false;
  if (typeof value[0] === "string") return value.every((item) => typeof item === "string");
  if (typeof value[0] === "number") return isIds(value);
  return value.every((item) => Array.isArray(item) && item.length > 0 && isIds(item));
}

function isIds(value: unknown): boolean {
  return Array.isArray(value) && value.every((id) => Number.isSafeInteger(id) && id >= 0);
}

const MODEL = z
  .string()
  .max(256)
  .meta({ description: "Id from /v1/models. May be left out where one model is served." });

/** What a query names a model by. */
export const MODEL_QUERY = z.object({ model: z.string().max(256).optional() });

export function modelField(): z.ZodOptional<z.ZodNullable<typeof MODEL>> {
  return optional(MODEL);
}

function buildResponseFormat() {
  const schema = z.union([z.boolean(), z.record(z.string(), z.unknown())]);
  return z.discriminatedUnion("type", [
    z.object({ type: z.literal("text") }),
    z.object({ type: z.literal("json_object"), schema: optional(schema) }),
    z.object({
      type: z.literal("json_schema"),
      json_schema: z.object({
        name: optional(z.string().max(256)),
        description: optional(z.string()),
        schema: schema,
        strict: optional(z.boolean()),
      }),
    }),
  ]);
}

/** What both kinds of completions may say about how tokens are chosen and when to stop. */
export function samplingFields(limits: ApiLimits) {
  return {
    model: modelField(),
    max_tokens: optional(z.int().min(0).max(limits.maxTokens)).describe(
      "Tokens to generate at most. Prompt and they must fit into the context.",
    ),
    temperature: optional(z.number().min(0).max(5)).describe("0 = always the likeliest token. Default 1."),
    top_p: optional(z.number().min(0).max(1)).describe("Default 1 = off."),
    top_k: optional(z.int().min(-1).max(1_000_000)).describe("Extension. 0 or -1 = off, the default."),
    min_p: optional(z.number().min(0).max(1)).describe("Extension. Default 0 = off."),
    typical_p: optional(z.number().min(0).max(1)).describe("Extension. Default 1 = off."),
    repeat_penalty: optional(z.number().min(0.01).max(10)).describe("Extension. Default 1 = off."),
    presence_penalty: optional(z.number().min(-2).max(2)).describe("Default 0."),
    frequency_penalty: optional(z.number().min(-2).max(2)).describe("Default 0."),
    logit_bias: optional(
      boundedRecord(z.record(z.string().regex(/^\d{1,10}$/), z.number().min(-100).max(100)), limits.logitBias),
    ).describe("Token id to what is added to its logit; -100 bans it."),
    seed: optional(z.int()).describe(
      "The same seed and request give the same text. Taken modulo 2^32; default: another one each time.",
    ),
    stop: optional(
      z.union([boundedText(limits.stopBytes), boundedArray(boundedText(limits.stopBytes), limits.stops)], {
        error: "must be text or an array of texts",
      }),
    ).describe("Texts that end the generation; they are not part of it. Empty ones are ignored."),
    n: optional(z.int().min(1).max(limits.n)).describe("Choices for each prompt. Default 1."),
    stream: optional(z.boolean()).describe("Server-sent events. Default false."),
    stream_options: optional(z.object({ include_usage: optional(z.boolean()) })),
    response_format: optional(buildResponseFormat()),
    grammar: optional(boundedText(limits.grammarBytes)).describe("Extension. GBNF with the root rule `root`."),
    ignore_eos: optional(z.boolean()).describe("Extension. Go on behind an end-of-generation token. Default false."),
    cache_prompt: optional(z.boolean()).describe(
      "Extension. May start with what another request of this client computed. Default true.",
    ),
    priority: optional(z.int().min(-100).max(100)).describe("Extension. Larger goes first. Default 0."),
    deadline_ms: optional(z.int().min(1).max(limits.deadlineMs)).describe(
      "Extension. Ends with deadline_exceeded when it takes longer, waiting included.",
    ),
    timings: optional(z.boolean()).describe("Extension. Say how long what took. Default true."),
  };
}
