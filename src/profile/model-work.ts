import type { Role } from "../observe/index.ts";

/**
 * What is known of a model's work without measuring: which tensors each unit reads, what its attention looks like, and
 * where it may be cut. Plain data; `countWork` turns it into flops and bytes.
 */
export interface ModelWork {
  readonly architecture: string;
  /** One entry for each unit, in order. */
  readonly units: readonly UnitWork[];
  readonly legalCuts: readonly number[];
}

export interface UnitWork {
  readonly unit: number;
  /** `embed`, `blk.N`, `head`. */
  readonly name: string;
  readonly kind: "embedding" | "block" | "head";
  readonly unitClass: string;
  /** Width of the rows that travel from unit to unit. */
  readonly hiddenWidth: number;
  /** What the unit reads, a matrix that the head shares with the embedding included in both. */
  readonly tensors: readonly TensorWork[];
  /** null for units without attention. */
  readonly attention: AttentionWork | null;
  /** null for units without experts. */
  readonly experts: { readonly count: number; readonly used: number } | null;
  /** Keys and values of one token, F16. */
  readonly kvBytesPerToken: number;
  /** In the model's last block only rows whose logits are wanted go on behind the attention. */
  readonly dropsRows: boolean;
}

export interface TensorWork {
  /** Without the `blk.N.` in front. */
  readonly name: string;
  /** Innermost first, as in the file. */
  readonly dims: readonly number[];
  /** ggml type, lower case. */
  readonly type: string;
  readonly bytes: number;
  readonly role: Role;
  /**
   * `matrix`: multiplied by every row; `experts`: a stack of matrices of which a row uses some; `lookup`: one row of it
   * for each token; `vector`: added or multiplied elementwise.
   */
  readonly use: "matrix" | "experts" | "lookup" | "vector";
}

export interface AttentionWork {
  readonly heads: number;
  readonly kvHeads: number;
  readonly keySize: number;
  readonly valueSize: number;
  /** Queries and keys are turned by their position. */
  readonly rotary: boolean;
  /** Positions that a row sees at most; null without a sliding window. */
  readonly window: number | null;
}
