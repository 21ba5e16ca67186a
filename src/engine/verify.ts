import { createHash } from "node:crypto";
import { openStage } from "./open-stage.ts";
import type { SamplingParams, Stage } from "./types.ts";

export interface KvHashes {
  /** Block of the undivided model, 0-based. */
  readonly block: number;
  /** SHA-256, hex. */
  readonly k: string;
  readonly v: string;
}

export interface ReferenceRequest {
  /** The undivided model. */
  readonly modelPath: string;
  readonly promptTokenIds: ArrayLike<number>;
  readonly maxTokens: number;
  readonly sampling: SamplingParams;
  readonly threads: number;
  readonly contextTokens: number;
  /** KV slots of the pipeline: the same cells are made here, so that attention sees the same layout. */
  readonly parallel: number;
  readonly maxRows: number;
  /** Rows of each step, in order: the schedule to repeat. Steps behind the prompt have one row each. */
  readonly stepRows: readonly number[];
  readonly isEndOfGeneration: (tokenId: number) => boolean;
  readonly onToken?: (index: number, tokenId: number) => void;
  readonly signal?: AbortSignal;
}

export interface ReferenceRun {
  readonly tokenIds: readonly number[];
  /** One f32[nVocab] for each token. */
  readonly logits: readonly Float32Array[];
  readonly kv: readonly KvHashes[];
  readonly ttftMs: number;
  readonly decodeTokensPerSec: number;
  readonly computeMs: readonly number[];
  readonly weightsBytes: number;
}

/** Runs the undivided model in this process over a given batch schedule. Blocks the thread between tokens. */
export async function runReference(request: ReferenceRequest): Promise<ReferenceRun> {
  const stage = await openStage({
    stageFile: request.modelPath,
    contextTokens: request.contextTokens,
    parallel: request.parallel,
    threads: request.threads,
    maxRows: request.maxRows,
  });
  try {
    return await runSchedule(stage, request);
  } finally {
    stage.close();
  }
}

async function runSchedule(stage: Stage, request: ReferenceRequest): Promise<ReferenceRun> {
  const fed = Array.from(request.promptTokenIds);
  const tokenIds: number[] = [];
  const logits: Float32Array[] = [];
  const computeMs: number[] = [];
  stage.openSlot(0, request.sampling);
  const startMs = performance.now();
  let firstMs = startMs;
  let position = 0;
  for (const rows of request.stepRows) {
    if (position + rows > fed.length) break; // the pipeline went on where this run has ended
    request.signal?.throwIfAborted();
    const isLast = position + rows === fed.length;
    const output = stage.forward(
      {
        runs: [{ slot: 0, position, rows, output: isLast && request.maxTokens > 0 ? "last" : "none" }],
        tokens: Int32Array.from(fed.slice(position, position + rows)),
        hidden: null,
      },
      { wantLogits: true },
    );
    computeMs.push(output.computeNs / 1e6);
    position += rows;
    const token = output.sampled[0];
    if (token !== undefined) {
      if (tokenIds.length === 0) firstMs = performance.now();
      tokenIds.push(token.tokenId);
      logits.push(token.logits ?? new Float32Array());
      request.onToken?.(tokenIds.length - 1, token.tokenId);
      if (request.isEndOfGeneration(token.tokenId) || tokenIds.length >= request.maxTokens) break;
      fed.push(token.tokenId);
    }
    await new Promise(setImmediate); // let signals and output through
  }
  const decodeMs = performance.now() - firstMs;
  return {
    tokenIds,
    logits,
    kv: hashKv(stage, 0),
    ttftMs: firstMs - startMs,
    decodeTokensPerSec: tokenIds.length > 1 ? ((tokenIds.length - 1) / decodeMs) * 1000 : 0,
    computeMs,
    weightsBytes: stage.info.weightsBytes,
  };
}

/** SHA-256 of each layer's K and V bytes of one slot. */
export function hashKv(stage: Pick<Stage, "readKv">, slot: number): readonly KvHashes[] {
  return stage.readKv(slot).map((layer) => ({ block: layer.block, k: sha256(layer.kBytes), v: sha256(layer.vBytes) }));
}

export interface PipelineRun {
  readonly tokenIds: readonly number[];
  readonly logits: readonly Float32Array[];
  readonly kv: readonly KvHashes[];
}

export interface Verification {
  readonly identicalTokens: boolean;
  readonly identicalLogits: boolean;
  readonly identicalKv: boolean;
  readonly maxAbsLogitDiff: number;
  /** In words: what differs first; null when nothing does. */
  readonly firstDifference: string | null;
}

/** Compares a pipeline's run with the reference's, bit for bit. Pure. */
export function compareRuns(pipeline: PipelineRun, reference: PipelineRun): Verification {
  const differences: string[] = [];
  const identicalTokens = sameList(pipeline.tokenIds, reference.tokenIds, (index, a, b) =>
    differences.push(`token ${index}: ${a} against ${b}`),
  );
  let maxAbsLogitDiff = 0;
  let identicalLogits = pipeline.logits.length === reference.logits.length;
  if (!identicalLogits) differences.push(`${pipeline.logits.length} rows of logits against ${reference.logits.length}`);
  pipeline.logits.forEach((row, index) => {
    const other = reference.logits[index];
    if (other === undefined || sameBits(row, other)) return;
    identicalLogits = false;
    const diff = maxAbsDiff(row, other);
    differences.push(`logits of token ${index}: off by up to ${diff}`);
    maxAbsLogitDiff = Math.max(maxAbsLogitDiff, diff);
  });
  const describe = (hash: KvHashes): string => `block ${hash.block} k ${hash.k} v ${hash.v}`;
  const identicalKv = sameList(pipeline.kv.map(describe), reference.kv.map(describe), (index, a, b) =>
    differences.push(`KV layer ${index}: ${a} against ${b}`),
  );
  return { identicalTokens, identicalLogits, identicalKv, maxAbsLogitDiff, firstDifference: differences[0] ?? null };
}

function sameList<T>(
  a: readonly T[],
  b: readonly T[],
  report: (index: number, a: T | undefined, b: T | undefined) => void,
): boolean {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] === b[i]) continue;
    report(i, a[i], b[i]);
    return false;
  }
  return true;
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));
}

function maxAbsDiff(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let max = 0;
  for (let i = 0; i < a.length; i++) max = Math.max(max, Math.abs((a[i] as number) - (b[i] as number)));
  return max;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
