import type { UnitRange } from "../../engine/index.ts";
import type { ModelIdentity } from "../../protocol/index.ts";

export interface StageFileRequest {
  readonly model: ModelIdentity;
  readonly units: UnitRange;
  /** Cut an architecture that no test has verified. */
  readonly unverified: boolean;
  readonly contextTokens: number;
  readonly parallel: number;
}

/** What a stage will take, known before any weight is copied. */
export interface StageSizes {
  /** Tensor bytes of the stage. */
  readonly weightsBytes: number;
  readonly kvBytes: number;
}

export interface StageFileHooks {
  /** A throw stops the preparation with that error. */
  readonly checkSizes: (sizes: StageSizes) => void;
  readonly onProgress: (progress: { readonly bytesDone: number; readonly bytesTotal: number }) => void;
  readonly signal: AbortSignal;
}

export interface PreparedStage {
  readonly path: string;
  readonly weightsBytes: number;
  /** Bytes of weights that came over the network for this call; 0 from the cache or a local file. */
  readonly receivedBytes: number;
}

/** Where a worker's stage files come from. */
export interface StageFileSource {
  /** @returns a file that was verified just now; it stays until another `prepare` of this source */
  prepare(request: StageFileRequest, hooks: StageFileHooks): Promise<PreparedStage>;
}
