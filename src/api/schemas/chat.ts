import { z } from "zod";
import type { ApiLimits } from "../limits.ts";
import { TIMINGS, USAGE } from "./completions.ts";
import { boundedArray, modelField, optional, samplingFields } from "./fields.ts";

/** Calls that one message may hold, and parts of one content. */
const MAX_PARTS = 256;
const TOOL_NAME = /^[A-Za-z0-9_-]{1,64}$/;

const TOOL_CALL = z.object({
  id: z.string().max(256),
  type: z.literal("function"),
  function: z.object({ name: z.string().max(128), arguments: z.string() }),
});

interface ContentPart {
  readonly type: string;
  readonly text?: string | null | undefined;
}

/** Checked by hand: of thousands of wrong parts, one is enough. */
const CONTENT = z.custom<string | ContentPart[]>(isContent, "must be text or an array of parts").meta({
  description: "Text, or parts of type `text`.",
  oneOf: [
    { type: "string" },
    {
      type: "array",
      maxItems: MAX_PARTS,
      items: {
        type: "object",
        properties: {
          type: { type: "string", maxLength: 64 },
          text: { anyOf: [{ type: "string" }, { type: "null" }] },
        },
        required: ["type"],
      },
    },
  ],
});

function isContent(value: unknown): boolean {
  if (typeof value === "string") return true;
  return Array.isArray(value) && value.length <= MAX_PARTS && value.every(isPart);
}

function isPart(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { type, text } = value as Partial<Record<keyof ContentPart, unknown>>;
  const hasText = text === undefined || text === null || typeof text === "string";
  return typeof type === "string" && type.length <= 64 && hasText;
}

function buildMessage() {
  return z.object({
    role: z.enum(["system", "developer", "user", "assistant", "tool"]),
    content: optional(CONTENT),
    name: optional(z.string().max(256)),
    tool_calls: optional(boundedArray(TOOL_CALL, MAX_PARTS)),
    tool_call_id: optional(z.string().max(256)),
    reasoning_content: optional(z.string()),
  });
}

function buildTool() {
  return z.object({
    type: z.literal("function"),
    function: z.object({
      name: z.string().regex(TOOL_NAME),
      description: optional(z.string()),
      parameters: optional(z.record(z.string(), z.unknown())),
      strict: optional(z.boolean()),
    }),
  });
}

const TOOL_CHOICE = z.union(
  [
    z.enum(["none", "auto", "required"]),
    z.object({ type: z.literal("function"), function: z.object({ name: z.string().max(128) }) }),
  ],
  { error: "must be none, auto, required, or the function that must be called" },
);

export function buildChatRequest(limits: ApiLimits) {
  return z.object({
    ...samplingFields(limits),
    messages: boundedArray(buildMessage(), limits.messages).refine((list) => list.length > 0, {
      message: "must have at least one message",
    }),
    max_completion_tokens: optional(z.int().min(0).max(limits.maxTokens)).describe("Goes before `max_tokens`."),
    logprobs: optional(z.boolean()),
    top_logprobs: optional(z.int().min(0).max(limits.topLogprobs)).describe("Wants `logprobs`."),
    tools: optional(boundedArray(buildTool(), limits.tools)),
    tool_choice: optional(TOOL_CHOICE),
    parallel_tool_calls: optional(z.boolean()).describe("Default true."),
    add_generation_prompt: optional(z.boolean()).describe("Extension. Default true."),
  });
}

/** What a template is applied to. */
export function buildTemplateRequest(limits: ApiLimits) {
  return z.object({
    model: modelField(),
    messages: boundedArray(buildMessage(), limits.messages),
    tools: optional(boundedArray(buildTool(), limits.tools)),
    tool_choice: optional(TOOL_CHOICE),
    add_generation_prompt: optional(z.boolean()).describe("Default true."),
  });
}

export type ChatRequest = z.infer<ReturnType<typeof buildChatRequest>>;
export type TemplateRequest = z.infer<ReturnType<typeof buildTemplateRequest>>;
export type ChatMessageBody = ChatRequest["messages"][number];

const TOKEN_LOGPROB = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int()).nullable(),
});

const CHAT_LOGPROBS = z.object({
  content: z.array(TOKEN_LOGPROB.extend({ top_logprobs: z.array(TOKEN_LOGPROB) })),
  refusal: z.null(),
});

const FINISH_REASON = z.enum(["stop", "length", "tool_calls"]);

export const CHAT_RESPONSE = z.object({
  id: z.string(),
  object: z.literal("chat.completion"),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      message: z.object({
        role: z.literal("assistant"),
        content: z.string().nullable(),
        refusal: z.null(),
        reasoning_content: z.string().optional(),
        tool_calls: z.array(TOOL_CALL).optional(),
      }),
      logprobs: CHAT_LOGPROBS.nullable(),
      finish_reason: FINISH_REASON,
    }),
  ),
  usage: USAGE,
  timings: TIMINGS.optional(),
});

/** One event of a stream. */
export const CHAT_CHUNK = z.object({
  id: z.string(),
  object: z.literal("chat.completion.chunk"),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.int(),
      delta: z.object({
        role: z.literal("assistant").optional(),
        content: z.string().nullable().optional(),
        reasoning_content: z.string().optional(),
        tool_calls: z.array(TOOL_CALL.partial().extend({ index: z.int() })).optional(),
      }),
      logprobs: CHAT_LOGPROBS.nullable(),
      finish_reason: FINISH_REASON.nullable(),
    }),
  ),
  usage: USAGE.nullish(),
  timings: TIMINGS.optional(),
});

export const TEMPLATE_RESPONSE = z.object({ prompt: z.string() });
