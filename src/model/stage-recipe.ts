import type { GgmlType, GgufMetadata } from "../gguf/index.ts";
import type { UnitRange } from "./units.ts";

/** Where a stage's tensor gets its data: from a tensor of the source, unchanged, or all zeros or ones. */
export type StageTensorSource =
  | { readonly kind: "copy"; readonly tensor: string }
  | { readonly kind: "fill"; readonly value: 0 | 1 };

export interface StageTensor {
  /** In the stage: blocks are counted from 0 again. */
  readonly name: string;
  /** Innermost first. */
  readonly dims: readonly number[];
  readonly type: GgmlType;
  readonly source: StageTensorSource;
}

/** What a stage file is made of. */
export interface StageRecipe {
  /** Of the source; a stage with only the head may be a file of another. */
  readonly architecture: string;
  readonly units: UnitRange;
  readonly unitCount: number;
  /** Without the manifest, which needs the source's hashes. */
  readonly metadata: GgufMetadata;
  /** In the order of the file. */
  readonly tensors: readonly StageTensor[];
  /** What the stage's user multiplies embedding rows by, as float32; null for 1 and for stages without the embedding. */
  readonly embeddingScale: number | null;
  /** Data of all tensors, without padding. */
  readonly weightsBytes: number;
}
