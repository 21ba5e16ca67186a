import { NoodleError } from "../common/index.ts";
import type { Prompt } from "./schemas/fields.ts";
import { giveTurn } from "./give-turn.ts";
import { type ServedModel, SYNC_TOKENIZE_BYTES, type TokenizeOptions } from "./served-model.ts";

/** A prompt as its model reads it. */
export interface ReadPrompt {
  readonly tokenIds: readonly number[];
  /** As it was sent; null for token ids. */
  readonly text: string | null;
}

/** No vocabulary that is in use has tokens longer than this on average over a whole context. */
const MAX_TOKEN_BYTES = 256;

/**
 * The prompts of a request, each as token ids.
 *
 * @param field where they stand in the body, for messages
 * @throws PROMPT_EMPTY, CONTEXT_EXCEEDED, LIMIT_EXCEEDED, REQUEST_INVALID
 */
export async function readPrompts(
  model: ServedModel,
  prompt: Prompt,
  options: TokenizeOptions,
  maxPrompts: number,
): Promise<readonly ReadPrompt[]> {
  const list = listPrompts(prompt);
  if (list.length > maxPrompts) {
    throw new NoodleError("LIMIT_EXCEEDED", `prompt has ${list.length} entries, the limit is ${maxPrompts}`, {
      details: { param: "prompt", limit: maxPrompts },
    });
  }
  const read: ReadPrompt[] = [];
  for (const one of list) {
    if (typeof one === "string") {
      read.push({ tokenIds: await tokenizeText(model, one, options), text: one });
    } else {
      requireIds(model, one, "prompt");
      read.push({ tokenIds: one, text: null });
    }
  }
  for (const { tokenIds } of read) requireRoom(model, tokenIds.length);
  return read;
}

function listPrompts(prompt: Prompt): readonly (string | readonly number[])[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as readonly number[]] : (prompt as readonly (string | number[])[]);
}

/**
 * Text as token ids. What can't fit into the context is refused unread, and long texts are read off this thread.
 *
 * @throws CONTEXT_EXCEEDED, LIMIT_EXCEEDED
 */
export async function tokenizeText(
  model: ServedModel,
  text: string,
  options: TokenizeOptions,
): Promise<readonly number[]> {
  const bytes = Buffer.byteLength(text);
  const limit = model.contextTokens * MAX_TOKEN_BYTES;
  if (bytes > limit) {
    throw new NoodleError(
      "CONTEXT_EXCEEDED",
      `the prompt has ${bytes} bytes, more than a context of ${model.contextTokens} tokens can hold`,
      { details: { param: "prompt", bytes, limit } },
    );
  }
  const { tokenizer } = model;
  if (bytes <= SYNC_TOKENIZE_BYTES) {
    const ids = listIds(tokenizer.tokenize(text, options));
    // The next text of the same request may be as long.
    await giveTurn();
    return ids;
  }
  if (tokenizer.tokenizeLong !== undefined) return listIds(await tokenizer.tokenizeLong(text, options));
  throw new NoodleError(
    "LIMIT_EXCEEDED",
    `the prompt has ${bytes} bytes, this server's tokenizer takes ${SYNC_TOKENIZE_BYTES} at once`,
    { details: { param: "prompt", bytes, limit: SYNC_TOKENIZE_BYTES } },
  );
}

/** A loop: `Array.from` takes ten times as long for what may be a million. */
function listIds(ids: Int32Array): number[] {
  const list: number[] = [];
  for (let i = 0; i < ids.length; i++) list.push(ids[i] ?? 0);
  return list;
}

/** @throws REQUEST_INVALID for an id that the model does not have */
export function requireIds(model: ServedModel, tokenIds: readonly number[], param: string): void {
  const { vocabSize } = model.tokenizer;
  const wrong = tokenIds.find((id) => id >= vocabSize);
  if (wrong === undefined) return;
  throw new NoodleError("REQUEST_INVALID", `${param}: token id ${wrong} is not in the vocabulary of ${vocabSize}`, {
    details: { param, limit: vocabSize },
  });
}

/** @throws PROMPT_EMPTY, CONTEXT_EXCEEDED */
export function requireRoom(model: ServedModel, tokens: number): void {
  if (tokens === 0) throw new NoodleError("PROMPT_EMPTY", "the prompt has no tokens", { details: { param: "prompt" } });
  const { contextTokens } = model;
  if (tokens < contextTokens) return;
  throw new NoodleError(
    "CONTEXT_EXCEEDED",
    `the prompt has ${countTokens(tokens)}; ${contextTokens - 1} at most leave room for an answer in the context of ${countTokens(contextTokens)}`,
    { details: { param: "prompt", promptTokens: tokens, contextTokens } },
  );
}

/** What a request says of how much it wants. */
export interface WantedTokens {
  /** null = as many as there is room for. */
  readonly tokens: number | null;
  /** The field that says so. */
  readonly param: string;
}

/**
 * Tokens that a request may generate behind so long a prompt.
 *
 * @param most what it gets where it does not say, if there is room
 * @throws CONTEXT_EXCEEDED when what was asked for does not fit
 */
export function chooseMaxTokens(model: ServedModel, promptTokens: number, wanted: WantedTokens, most: number): number {
  const { tokens, param } = wanted;
  const { contextTokens } = model;
  const room = contextTokens - promptTokens;
  if (tokens === null) return Math.min(room, most);
  if (tokens <= room) return tokens;
  throw new NoodleError(
    "CONTEXT_EXCEEDED",
    `${param} is ${tokens}; behind the ${countTokens(promptTokens)} of the prompt there is room for ${room} in the context of ${countTokens(contextTokens)}`,
    { details: { param, promptTokens, maxTokens: tokens, roomTokens: room, contextTokens } },
  );
}

function countTokens(tokens: number): string {
  return tokens === 1 ? "1 token" : `${tokens} tokens`;
}
