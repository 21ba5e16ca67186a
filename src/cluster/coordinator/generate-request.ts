import { NoodleError } from "../../common/index.ts";
import type { SamplingParams } from "../../engine/index.ts";
import type { HookLevel } from "../../observe/index.ts";
import type { ClassNotes } from "../../schedule/index.ts";
import { requireInteger } from "./options.ts";
import type { PromptTokenizer } from "./tokenizer.ts";

/** One generation as the caller asks for it. */
export interface GenerateRequest {
  /** Text, or token ids as they are. */
  readonly prompt: string | readonly number[];
  /** 0 = run the prompt only. */
  readonly maxTokens: number;
  /** @default greedy */
  readonly sampling?: SamplingParams;
  /** Go on after an end-of-generation token. @default false */
  readonly ignoreEos?: boolean;
  /** Logits of each sampled token with it. @default false */
  readonly wantLogits?: boolean;
  /** SHA-256 of each layer's keys and values at the end. @default false */
  readonly wantKvHashes?: boolean;
  /** Most rows of a prefill step. @default the coordinator's */
  readonly prefillRows?: number;
  /** Looks this closely into every step of it. @default as the coordinator samples */
  readonly observe?: HookLevel;
  /** Ends the generation where one of these texts begins; it is not part of the text. @default none */
  readonly stop?: readonly string[];
  /** Log-probabilities of every generated token and this many alternatives, at most 20. @default null = none */
  readonly topLogprobs?: number | null;
  /** The same of the prompt's tokens from the second on; then nothing of it is reused. @default null = none */
  readonly promptLogprobs?: number | null;
  /**
   * Whose it is: turns are taken between clients, and prefixes are shared within one. Only named ones have a limit of
   * their own in the queue. @default ""
   */
  readonly client?: string;
  /** Larger goes first, from -100 to 100. @default 0 */
  readonly priority?: number;
  /** Ends with DEADLINE_EXCEEDED when it takes longer than this, waiting included. @default no limit */
  readonly deadlineMs?: number;
  /**
   * May start with what another of this client's requests has computed. @default true; false where logits or hashes of
   * keys and values are wanted, since those are held against a run from the start
   */
  readonly cachePrompt?: boolean;
  /** What it is a part of, for whoever goes on with it when a stop has cut it off: JSON that a journal keeps. */
  readonly origin?: object;
  /** Tells with each token how positions were computed: what a later start needs to go on with it. @default false */
  readonly tellCalls?: boolean;
  /** Computes its positions as these notes of an earlier run say, so that its KV bytes are those of that run. */
  readonly arrange?: ClassNotes;
}

const MAX_TOKENS = 0xffffffff;
const MAX_PRIORITY = 100;
const MAX_TOP_LOGPROBS = 20;
/** A timer takes no more. */
const MAX_DEADLINE_MS = 0x7fffffff;

/**
 * Checks what does not depend on the model.
 *
 * @param maxRows that a stage takes
 * @throws USAGE
 */
export function checkRequest(request: GenerateRequest, maxRows: number): void {
  requireInteger(request.maxTokens, "maxTokens", 0, MAX_TOKENS);
  if (request.prefillRows !== undefined) requireInteger(request.prefillRows, "prefillRows", 1, maxRows);
  requireInteger(request.priority ?? 0, "priority", -MAX_PRIORITY, MAX_PRIORITY);
  requireInteger(request.topLogprobs ?? 0, "topLogprobs", 0, MAX_TOP_LOGPROBS);
  requireInteger(request.promptLogprobs ?? 0, "promptLogprobs", 0, MAX_TOP_LOGPROBS);
  requireInteger(Math.ceil(request.deadlineMs ?? 1), "deadlineMs", 1, MAX_DEADLINE_MS);
}

/**
 * Notes come from outside: what they make the stages compute must fit into the context.
 *
 * @throws USAGE
 */
export function checkNotes(notes: ClassNotes, contextTokens: number): void {
  for (const { position, rows } of notes) {
    if (position + rows <= contextTokens) continue;
    throw new NoodleError(
      "USAGE",
      `notes of ${rows} rows from position ${position} on go beyond the context of ${contextTokens} tokens (arrange)`,
    );
  }
}

/**
 * The prompt as token ids.
 *
 * @throws PROMPT_EMPTY, CONTEXT_EXCEEDED when no room is left for a token behind it, USAGE for an id that the model
 * does not have
 */
export function readPrompt(
  prompt: string | readonly number[],
  tokenizer: PromptTokenizer,
  contextTokens: number,
): readonly number[] {
  const ids = typeof prompt === "string" ? (prompt === "" ? [] : [...tokenizer.tokenize(prompt)]) : prompt;
  if (ids.length === 0) throw new NoodleError("PROMPT_EMPTY", "the prompt has no tokens");
  const limit = contextTokens - 1;
  if (ids.length > limit) {
    throw new NoodleError(
      "CONTEXT_EXCEEDED",
      `the prompt has ${ids.length} tokens, the limit is ${limit}: one less than the context of ${contextTokens} tokens (--context)`,
      { details: { promptTokens: ids.length, limitTokens: limit, contextTokens } },
    );
  }
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 0 || id >= tokenizer.vocabSize) {
      throw new NoodleError("USAGE", `token id ${id} is not in the vocabulary of ${tokenizer.vocabSize}`);
    }
  }
  return ids;
}
