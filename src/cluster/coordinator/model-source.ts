import type { UnitRange } from "../../engine/index.ts";
import type { ModelIdentity } from "../../protocol/index.ts";

/** The model as its coordinator needs it: what it is, how it may be cut, and its bytes for workers without the file. */
export interface ModelSource {
  readonly identity: ModelIdentity;
  readonly unitCount: number;
  /** Sum over the shards. */
  readonly fileBytes: number;
  /** Bytes of weights by unit; absent where they are not known. */
  readonly unitBytes?: readonly number[];
  /** Tokens that the model was trained for; 0 when the file does not say. */
  readonly contextLength: number;
  /** @throws SPLIT_INVALID when the model cannot have so many stages */
  splitByBytes(stages: number): readonly UnitRange[];
  /** @throws SPLIT_INVALID, CUT_OUT_OF_RANGE, CUT_ILLEGAL */
  parseSplit(text: string): readonly UnitRange[];
  /** The bytes of a range, at most `chunkBytes` at a time; each piece is the reader's own. */
  streamRange(shard: number, offset: number, length: number, chunkBytes: number): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}
