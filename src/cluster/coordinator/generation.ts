import { must, NoodleError } from "../../common/index.ts";
import type { SessionId } from "../../protocol/index.ts";
import type { Pipeline } from "./pipeline.ts";
import type { SessionRunner } from "./runner.ts";
import type { FinishReason, Session } from "./session.ts";
import type { LayerKvHash } from "./stage-client.ts";
import { type PromptTokenizer, TextAssembler } from "./tokenizer.ts";

/** What one stage did for a generation. Times are medians over its steps of one row, or all where there are none. */
export interface StageStats {
  readonly nodeId: string;
  readonly name: string;
  /** Half-open range of units. */
  readonly units: { readonly first: number; readonly end: number };
  readonly computeMsP50: number;
  readonly queueMsP50: number;
  /** Half of what a round trip to this stage takes beyond the time inside it; null where none was measured. */
  readonly hopMsP50: number | null;
  readonly weightsBytes: number;
  readonly rssBytes: number;
}

export type GenerateEvent =
  | { readonly type: "started"; readonly sessionId: SessionId; readonly promptTokenIds: readonly number[] }
  /** A sampled token, the one that ends the generation included. `text` holds whole characters only. */
  | {
      readonly type: "token";
      readonly index: number;
      readonly tokenId: number;
      readonly text: string;
      readonly logits: Float32Array | null;
    }
  | {
      readonly type: "done";
      readonly finishReason: FinishReason;
      /** From the call to the first token (to the end of the prompt without one). */
      readonly ttftMs: number;
      /** Tokens behind the first over the time behind the first; 0 with fewer than two. */
      readonly decodeTokensPerSec: number;
      readonly stages: readonly StageStats[];
      /** In the order of the model; empty unless asked for. */
      readonly kv: readonly LayerKvHash[];
      /** Rows of each step in order: what a reference run must repeat. */
      readonly stepRows: readonly number[];
    };

/** What a generation needs of its coordinator. */
export interface GenerationHost {
  readonly runner: SessionRunner;
  readonly tokenizer: PromptTokenizer;
  nowMs(): number;
  /** Counts the session in: it has its slot from here on. @throws CLUSTER_NOT_READY, SESSION_LIMIT */
  admit(promptTokenIds: readonly number[]): { readonly session: Session; readonly pipeline: Pipeline };
  /** The reader has all that it will get. @param error what it failed with */
  finish(session: Session, error: NoodleError | null): void;
  /** The session is over everywhere; its slot is free. */
  release(session: Session): void;
  describeStages(session: Session): readonly StageStats[];
}

/**
 * Runs one generation from admission to the freeing of its slot, which happens however it ends.
 *
 * @throws the session's error; INTERRUPTED when `signal` is aborted
 */
export async function* runGeneration(
  host: GenerationHost,
  promptTokenIds: readonly number[],
  signal: AbortSignal,
): AsyncGenerator<GenerateEvent, void, undefined> {
  const startMs = host.nowMs();
  const { session, pipeline } = host.admit(promptTokenIds);
  const onAbort = (): void => session.fail(new NoodleError("INTERRUPTED", "the generation was cancelled"));
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  let failure: NoodleError | null = null;
  try {
    await host.runner.open(session, pipeline);
    yield { type: "started", sessionId: session.id, promptTokenIds };
    const assembler = new TextAssembler();
    let index = 0;
    let firstMs: number | null = null;
    let lastMs = startMs;
    for (let token = await session.sampled.next(); token !== undefined; token = await session.sampled.next()) {
      lastMs = token.receivedMs;
      firstMs ??= lastMs;
      host.runner.pump();
      const piece = assembler.push(host.tokenizer.pieceBytes(token.tokenId));
      const isLast = session.finishReason !== null && session.sampled.size === 0;
      const text = isLast ? piece + assembler.flush() : piece;
      yield { type: "token", index, tokenId: token.tokenId, text, logits: token.logits };
      index += 1;
    }
    const endMs = host.nowMs();
    const kv = session.request.wantKvHashes === true ? await host.runner.readKvHashes(session, pipeline) : [];
    yield {
      type: "done",
      finishReason: must(session.finishReason, "finish reason"),
      ttftMs: (firstMs ?? endMs) - startMs,
      decodeTokensPerSec:
        index < 2 || firstMs === null || lastMs <= firstMs ? 0 : ((index - 1) * 1000) / (lastMs - firstMs),
      stages: host.describeStages(session),
      kv,
      stepRows: session.stepRows,
    };
  } catch (error) {
    failure = NoodleError.from(error);
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
    host.finish(session, failure);
    await host.runner.close(session, pipeline);
    host.release(session);
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
