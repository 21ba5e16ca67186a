import type { GgufTensor } from "../gguf/index.ts";
import type { UnitRange } from "./types.ts";

/** What an engine must know of a stage file, read from its header once. */
export interface StageFacts {
  /** Rows of token and position embeddings in the file; the header itself, with its vocabulary, is not kept. */
  readonly embeddingTensors: readonly GgufTensor[];
  /** Of the model that the stage was cut from. */
  readonly architecture: string;
  readonly units: UnitRange;
  readonly unitCount: number;
  readonly nEmbd: number;
  /** Tokens of context that the model was made for; 0 when the file does not say. */
  readonly contextLength: number;
  readonly hasEmbedding: boolean;
  readonly hasHead: boolean;
  /** Nothing but the head: the file holds one block of zeros, since the engine refuses to load none. */
  readonly headOnly: boolean;
  /** The model's last block is in here (or in front): only output rows leave this stage. */
  readonly endsBlocks: boolean;
  /** Blocks in the file, the zero block of a head-only stage included. */
  readonly fileBlocks: number;
  /** Block indices of the undivided model that this stage computes. */
  readonly blocks: readonly number[];
  /** What token embeddings are multiplied by, or null. */
  readonly embeddingScale: number | null;
  /** K and V of all blocks, F16. */
  readonly kvBytesPerToken: number;
  /** Layers of each of the engine's caches: one, or dense and sliding. */
  readonly cacheLayers: readonly number[];
  /** Block index of each cache layer, in the order of the caches. */
  readonly cacheBlocks: readonly number[];
}
