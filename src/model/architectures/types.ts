import type { GgufValue } from "../../gguf/index.ts";
import type { ModelFacts } from "../facts.ts";

/** Widths of a block, all in elements or counts. */
export interface BlockShape {
  /** Width of the hidden state. */
  readonly embd: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Width of one head's keys and values. */
  readonly headSize: number;
  /** Width of the feed-forward layer, of one expert where there are experts. */
  readonly ff: number;
  /** 0 for a dense block. */
  readonly experts: number;
}

/**
 * `matrix` has the model's weight type; `router` is an F32 matrix; `norm` and `bias` are F32 vectors, near one and
 * near zero; `factors` are divisors of rotary frequencies, F32, from one on.
 */
export type WeightKind = "matrix" | "router" | "norm" | "bias" | "factors";

export interface WeightSpec {
  /** Name behind `blk.N.`, or the whole name of a tensor outside the blocks. */
  readonly name: string;
  /** Innermost first, as in the file. */
  readonly dims: readonly number[];
  readonly kind: WeightKind;
}

/** Keys without the architecture's prefix; null leaves the key out of the stage. */
export type MetadataEdits = ReadonlyMap<string, GgufValue | null>;

/** Layers that see only a window of the context. */
export interface SlidingSpec {
  /** What holds when the file gives no pattern: every n-th layer sees everything, the others a window. */
  readonly defaultPeriod: number;
  /** The engine refuses a file without a window, and one in which no layer has it. */
  readonly required?: true;
}

/**
 * The engine reads something else from a model of exactly `count` blocks: such a model's blocks must stay together, and
 * no stage of another model may hold so many.
 */
export interface PinnedBlockCount {
  readonly count: number;
  /** What it reads, for messages. */
  readonly what: string;
}

/** What cutting must know of an architecture: what the engine adds to rows on their way, and demands of a file. */
export interface CutSpec {
  /** As in `general.architecture`. */
  readonly name: string;
  /**
   * `required`: the engine refuses a file without `output.weight`; `optional`: it then takes the token embedding;
   * `tied`: it takes the token embedding always.
   */
  readonly output: "optional" | "required" | "tied";
  /** The output norm has a bias, which every file must hold. */
  readonly outputNormBias: boolean;
  /** A table of positions is added to every input, hidden states too: stages behind the first carry zeros. */
  readonly positionEmbedding: boolean;
  readonly sliding?: SlidingSpec;
  /**
   * What carries a stage of only the head, since the engine refuses a file without blocks: one block of zero weights
   * that hands its input on. `llama`: the head is a plain RMS norm and a matrix, so the file can be of that
   * architecture, whose smallest block is the cheapest; `own`: the head does more, so it is the smallest block of its
   * own architecture; `mirror`: the widths that may shrink are not known, so it is as wide as the model's blocks.
   */
  readonly headStage: "llama" | "own" | "mirror";
  /** What the engine multiplies token embeddings by, or null. Must be the very float32 that the engine uses. */
  readonly embeddingScale?: (facts: ModelFacts) => number | null;
  /** Why a cut between the units `cut - 1` and `cut` would change the result, or null. */
  readonly illegalCut?: (facts: ModelFacts, cut: number) => string | null;
  readonly pinnedBlockCount?: PinnedBlockCount;
  /** Metadata that a stage behind the embedding needs otherwise than the whole model. */
  readonly laterStageMetadata?: MetadataEdits;
  /** The tensors of one block of these widths. */
  readonly blockTensors?: (shape: BlockShape) => readonly WeightSpec[];
}

/** An architecture whose cuts are verified: its blocks are known well enough to make models of it. */
export interface ArchitectureSpec extends CutSpec {
  readonly norm: "rms" | "layer";
  /** `free`: attention may be narrower or wider than the hidden state; `tied`: heads x head size is its width. */
  readonly headWidth: "free" | "tied";
  /** Fewer key and value heads than heads are possible. */
  readonly groupedHeads: boolean;
  readonly experts: "never" | "optional" | "always";
  readonly blockTensors: (shape: BlockShape) => readonly WeightSpec[];
  /** Tensors that every block reads, in dummies; a model may do without them. */
  readonly sharedTensors?: (shape: BlockShape) => readonly WeightSpec[];
  /** Keys of a dummy beyond those that every architecture has; without the architecture's prefix. */
  readonly dummyMetadata?: (shape: BlockShape) => MetadataEdits;
}
