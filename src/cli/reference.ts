import { NoodleError } from "../common/index.ts";
import { runReference, type SamplingParams, Tokenizer } from "../engine/index.ts";
import type { Generation } from "./generation.ts";

export interface UndividedRequest {
  readonly modelPath: string;
  readonly prompt: string;
  readonly maxTokens: number;
  readonly sampling: SamplingParams;
  readonly threads: number;
  readonly contextTokens: number;
  readonly parallel: number;
  /** Rows of a prefill step, and the most in one call. */
  readonly prefillRows: number;
  readonly maxRows: number;
  /** Units of the model. */
  readonly unitCount: number;
}

/** Generates with the whole model in this process: no workers, no network. */
export async function generateUndivided(
  request: UndividedRequest,
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<Generation> {
  using tokenizer = Tokenizer.open(request.modelPath);
  const promptTokenIds = tokenizePrompt(tokenizer, request.prompt, request.contextTokens);
  const maxTokens = Math.min(request.maxTokens, request.contextTokens - promptTokenIds.length);
  const stepRows = planSteps(promptTokenIds.length, request.prefillRows, maxTokens);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let text = "";
  const emit = (piece: string): void => {
    text += piece;
    onText(piece);
  };
  const run = await runReference({
    ...request,
    maxTokens,
    promptTokenIds,
    stepRows,
    isEndOfGeneration: (tokenId) => tokenizer.isEndOfGeneration(tokenId),
    onToken: (_index, tokenId) => emit(decoder.decode(tokenizer.pieceBytes(tokenId), { stream: true })),
    signal,
  });
  emit(decoder.decode());
  const last = run.tokenIds.at(-1);
  const decodeMs = run.computeMs.slice(-Math.max(1, run.tokenIds.length - 1));
  return {
    promptTokenIds,
    tokenIds: run.tokenIds,
    text,
    finishReason: last !== undefined && tokenizer.isEndOfGeneration(last) ? "stop" : "length",
    ttftMs: run.ttftMs,
    decodeTokensPerSec: run.decodeTokensPerSec,
    stages: [
      {
        nodeId: "reference",
        name: "reference",
        units: { first: 0, end: request.unitCount },
        computeMsP50: median(decodeMs),
        queueMsP50: 0,
        hopMsP50: null,
        weightsBytes: run.weightsBytes,
        rssBytes: process.memoryUsage.rss(),
      },
    ],
    logits: [],
    logprobs: [],
    promptLogprobs: [],
    kv: [],
    stepRows,
  };
}

/** @throws NoodleError `PROMPT_EMPTY`, `CONTEXT_EXCEEDED` */
export function tokenizePrompt(tokenizer: Tokenizer, prompt: string, contextTokens: number): readonly number[] {
  const ids = prompt === "" ? [] : [...tokenizer.tokenize(prompt)];
  if (ids.length === 0) throw new NoodleError("PROMPT_EMPTY", "the prompt has no tokens");
  if (ids.length >= contextTokens) {
    throw new NoodleError(
      "CONTEXT_EXCEEDED",
      `the prompt has ${ids.length} tokens, the limit is ${contextTokens - 1}: one less than the context of ${contextTokens} tokens (--context)`,
    );
  }
  return ids;
}

/** The prompt in full steps and a rest, then single rows: as the coordinator schedules one session alone. */
export function planSteps(promptTokens: number, prefillRows: number, maxTokens: number): readonly number[] {
  const steps: number[] = [];
  for (let left = promptTokens; left > 0; left -= prefillRows) steps.push(Math.min(left, prefillRows));
  for (let token = 1; token < maxTokens; token++) steps.push(1);
  return steps;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
