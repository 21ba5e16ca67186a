import type { GenerateEvent, GenerateRequest } from "../cluster/coordinator/index.ts";
import type { ReplyBook } from "./live/index.ts";

/** What the API needs of a model's tokenizer. Ids are i32; `vocabSize` bounds them. */
export interface ServedTokenizer {
  readonly vocabSize: number;
  /** -1 = the model has none. */
  readonly bosId: number;
  /** -1 = the model has none. */
  readonly eosId: number;
  /** Texts of the tokens that are more than text, such as `<|im_end|>`: id and how it is written. */
  readonly specialTokens: ReadonlyMap<number, string>;
  /** Synchronous: it is given `SYNC_TOKENIZE_BYTES` at most. */
  tokenize(text: string, options: TokenizeOptions): Int32Array;
  /** The same off this thread, for long texts. Without it they are refused. */
  tokenizeLong?(text: string, options: TokenizeOptions): Promise<Int32Array>;
  /** Bytes of one token: not always whole UTF-8 characters. Special tokens give none. */
  pieceBytes(tokenId: number): Uint8Array;
  isEndOfGeneration(tokenId: number): boolean;
}

export interface TokenizeOptions {
  /** Put the begin-of-text token in front where the model wants one. */
  readonly addSpecial: boolean;
  /** Read `<|...|>` as special tokens. */
  readonly parseSpecial: boolean;
}

/** What a model is, for those who list models. */
export interface ModelFacts {
  /** `general.architecture`, for example `llama`. */
  readonly architecture: string;
  readonly parameters: number;
  readonly blocks: number;
  readonly embeddingLength: number;
  readonly fileBytes: number;
  /** What most of its weights are stored as, for example `Q4_0`. */
  readonly quantization: string;
}

export interface Readiness {
  readonly status: "ready" | "waiting" | "failed";
  /** Why it is not ready; null where it is. */
  readonly reason: string | null;
}

/** A generation that a stop has cut off. */
export interface InterruptedRequest {
  readonly sessionId: string;
  /** Whose it is. */
  readonly client: string;
  /** `GenerateRequest.origin` as it was. */
  readonly origin: unknown;
}

/** One model that can be asked by its id: a coordinator with its tokenizer. */
export interface ServedModel {
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  /** Tokens of a sequence, prompt included. */
  readonly contextTokens: number;
  /** What it was trained for; null where the file does not say. */
  readonly trainedContextTokens: number | null;
  readonly facts: ModelFacts;
  /** No model is one yet. */
  readonly embeddings: false;
  readonly tokenizer: ServedTokenizer;
  /** Jinja source from the file; null where it has none. */
  readonly chatTemplate: string | null;
  readiness(): Readiness;
  /** The `noodle.status.v1` document of its cluster. */
  status(): object;
  /** Replies that outlive this process. @default they are kept in memory */
  readonly replies?: ReplyBook;
  /** What the last stop of its coordinator cut off, or ended a moment before. To be called once. @default nothing */
  interrupted?(): readonly InterruptedRequest[];
  /** Goes on with one of them; its events begin with the first. It waits for the cluster. */
  resume?(sessionId: string, signal: AbortSignal): AsyncIterable<GenerateEvent>;
  /** Nobody goes on with this one. */
  abandon?(sessionId: string): void;
  /** As `Coordinator.generate`. Aborting frees its slot; so does ending the iteration. */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent>;
}

/** Tokenizing this much takes a few ten ms at worst, which is how long the event loop may be held. */
export const SYNC_TOKENIZE_BYTES = 16 * 1024;
