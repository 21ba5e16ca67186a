import type { SessionId } from "../../protocol/index.ts";
import type { ClassNotes, ComputedRun } from "../../schedule/index.ts";
import type { LayerKvHash } from "./stage-client.ts";

/** A token with its log-probability and the likeliest alternatives, best first. */
export interface TokenLogprobs {
  readonly tokenId: number;
  readonly logprob: number;
  readonly top: readonly { readonly tokenId: number; readonly logprob: number }[];
}

export type FinishReason = "stop" | "length";

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
  | {
      readonly type: "started";
      readonly sessionId: SessionId;
      readonly promptTokenIds: readonly number[];
      /** Prompt tokens whose keys and values were there already. */
      readonly cachedTokens: number;
      /** From the call to its slot. */
      readonly queueMs: number;
    }
  /** Of the prompt's tokens from the second on, in order; once, before the first token. Only when asked for. */
  | { readonly type: "prompt"; readonly logprobs: readonly TokenLogprobs[] }
  /** A sampled token, the one that ends the generation included. `text` holds whole characters only. */
  | {
      readonly type: "token";
      readonly index: number;
      readonly tokenId: number;
      /** What is known to be part of the answer with it; text that may be the beginning of a stop text waits. */
      readonly text: string;
      readonly logits: Float32Array | null;
      readonly logprobs: TokenLogprobs | null;
      /** How positions were computed that no token before this one told of; only where that was asked for. */
      readonly calls?: readonly ComputedRun[];
    }
  | {
      readonly type: "done";
      readonly finishReason: FinishReason;
      /** The stop text that ended it; null where none did. */
      readonly stopText: string | null;
      /** Tokens that were generated, the ending one included. */
      readonly generatedTokens: number;
      /** From the call to its slot, from there to the first token, from there to the last. */
      readonly queueMs: number;
      readonly prefillMs: number;
      readonly decodeMs: number;
      /** Prompt tokens whose keys and values were there already. */
      readonly cachedTokens: number;
      /** How each position was computed; what `GenerateRequest.arrange` takes. */
      readonly notes: ClassNotes;
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
