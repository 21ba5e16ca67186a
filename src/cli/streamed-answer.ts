import { type ApiClient, isObject } from "./api-client.ts";
import { countNoun } from "./quantities.ts";

/** Where nobody says how long a text shall go on: the API's own default is meant for completing a line. */
export const TEXT_TOKENS = 256;

/** An answer from its first to its last piece, as whoever waited for it saw it. */
export interface StreamedAnswer {
  readonly text: string;
  /** null where the reader stopped it. */
  readonly finishReason: string | null;
  readonly promptTokens: number;
  /** Prompt tokens whose keys and values were there already. */
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** From the request to the first piece of text; to the end where there was none. */
  readonly ttftMs: number;
  /** Tokens behind the first over the time behind the first piece; 0 with fewer than two. */
  readonly tokensPerSec: number;
  /** What the server says of its time; null where it says nothing. */
  readonly timings: Readonly<Record<string, unknown>> | null;
}

export interface AnswerRequest {
  readonly client: ApiClient;
  /** `v1/chat/completions` or `v1/completions`. */
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly onText: (text: string) => void;
  readonly nowMs: () => number;
}

/**
 * Streams one answer. When `stop` is aborted it ends there and counts as an answer.
 *
 * @throws the errors of `ApiClient.stream`
 */
export async function streamAnswer(request: AnswerRequest, stop: AbortSignal): Promise<StreamedAnswer> {
  const { client, path, body, onText, nowMs } = request;
  const startMs = nowMs();
  let text = "";
  let [pieces, firstMs, lastMs] = [0, Number.NaN, startMs];
  let finishReason: string | null = null;
  let usage: Readonly<Record<string, unknown>> = {};
  let timings: StreamedAnswer["timings"] = null;
  try {
    for await (const chunk of client.stream(path, { ...body, stream_options: { include_usage: true } }, stop)) {
      if (!isObject(chunk)) continue;
      const piece = readPiece(chunk);
      if (piece.text !== "") {
        lastMs = nowMs();
        if (pieces === 0) firstMs = lastMs;
        pieces += 1;
        text += piece.text;
        onText(piece.text);
      }
      finishReason = piece.finishReason ?? finishReason;
      if (isObject(chunk["usage"])) usage = chunk["usage"];
      if (isObject(chunk["timings"])) timings = chunk["timings"];
    }
  } catch (error) {
    if (!stop.aborted) throw error;
  }
  const endMs = nowMs();
  // A stopped answer has no usage: then a piece is a token.
  const completionTokens = readCount(usage["completion_tokens"]) ?? pieces;
  const details = isObject(usage["prompt_tokens_details"]) ? usage["prompt_tokens_details"] : {};
  const decodeMs = lastMs - firstMs;
  return {
    text,
    finishReason,
    promptTokens: readCount(usage["prompt_tokens"]) ?? 0,
    cachedTokens: readCount(details["cached_tokens"]) ?? 0,
    completionTokens,
    ttftMs: (Number.isNaN(firstMs) ? endMs : firstMs) - startMs,
    tokensPerSec: completionTokens > 1 && decodeMs > 0 ? ((completionTokens - 1) * 1000) / decodeMs : 0,
    timings,
  };
}

function readPiece(chunk: Readonly<Record<string, unknown>>): { text: string; finishReason: string | null } {
  const choice: unknown = Array.isArray(chunk["choices"]) ? chunk["choices"][0] : undefined;
  if (!isObject(choice)) return { text: "", finishReason: null };
  const delta = isObject(choice["delta"]) ? choice["delta"]["content"] : choice["text"];
  const reason = choice["finish_reason"];
  return { text: typeof delta === "string" ? delta : "", finishReason: typeof reason === "string" ? reason : null };
}

function readCount(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** One line about an answer. */
export function describeAnswer(answer: StreamedAnswer): string {
  const { completionTokens, tokensPerSec, ttftMs, promptTokens, cachedTokens, finishReason } = answer;
  const parts = [
    countNoun(completionTokens, "token"),
    ...(tokensPerSec > 0 ? [`${tokensPerSec.toFixed(1)} tokens/s`] : []),
    `first after ${ttftMs.toFixed(0)} ms`,
    ...(cachedTokens > 0 ? [`${cachedTokens} of ${promptTokens} prompt tokens were there already`] : []),
    ...(finishReason === null ? ["stopped"] : finishReason === "length" ? ["cut at the limit"] : []),
  ];
  return parts.join(", ");
}
