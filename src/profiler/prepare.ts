import { createHash } from "node:crypto";
import { join } from "node:path";
import { NoodleError } from "../common/index.ts";
import { type GgufHeader, openGguf } from "../gguf/index.ts";
import {
  describeModel,
  type ModelHashes,
  neededRanges,
  pickBlocks,
  sourceFromFile,
  type UnitRange,
  writeStage,
  writeSyntheticStage,
} from "../model/index.ts";
import type { ModelWork } from "../profile/index.ts";
import { chooseBlocks } from "./synthetic-blocks.ts";

/** A stage file that stands for the units that are profiled. */
export interface PreparedStage {
  readonly stageFile: string;
  /** Unit of the undivided model for each unit that the stage's timings name. */
  readonly unitOf: ReadonlyMap<number, number>;
  /** Units of the undivided model that are really in the file. */
  readonly builtUnits: readonly number[];
}

export interface PrepareRequest {
  readonly header: GgufHeader;
  readonly work: ModelWork;
  readonly range: UnitRange;
  /** For files that are written; the caller removes it. */
  readonly folder: string;
  readonly onProgress: (fraction: number) => void;
  readonly signal: AbortSignal;
}

/** The model as it is, or the part of it that is profiled, cut into a file of its own. */
export async function prepareReal(path: string, request: PrepareRequest): Promise<PreparedStage> {
  const { header, work, range, folder, onProgress, signal } = request;
  const builtUnits = listUnits(range);
  const unitOf = new Map(builtUnits.map((unit) => [unit, unit]));
  if (range.first === 0 && range.end === work.units.length) return { stageFile: path, unitOf, builtUnits };
  const stageFile = join(folder, "stage.gguf");
  const file = await openGguf(path);
  try {
    const hashes = await hashNeeded(path, header, range, signal);
    const progress = (done: number, total: number): void => onProgress(done / total);
    const options = { hashes, allowUnverified: true, onProgress: progress, signal };
    await writeStage(sourceFromFile(file), header, range, stageFile, options);
  } finally {
    await file.close();
  }
  return { stageFile, unitOf, builtUnits };
}

/**
 * The stage's file lives as long as the run and goes nowhere, so the model as a whole need not be hashed for it: only
 * what is copied, which the writer compares.
 */
async function hashNeeded(
  path: string,
  header: GgufHeader,
  range: UnitRange,
  signal: AbortSignal,
): Promise<ModelHashes> {
  const file = await openGguf(path);
  try {
    const tensors: { name: string; sha256: string }[] = [];
    for (const needed of neededRanges(header, range, { allowUnverified: true })) {
      if (signal.aborted) throw NoodleError.from(signal.reason, "INTERRUPTED");
      const hash = createHash("sha256");
      for await (const piece of file.streamRange(needed.shard, needed.fileOffset, needed.bytes)) hash.update(piece);
      tensors.push({ name: needed.tensor, sha256: hash.digest("hex") });
    }
    const headerSha256 = await file.headerSha256();
    return { sourceSha256: headerSha256, headerSha256, sourceBytes: file.fileBytes, tensors };
  } finally {
    await file.close();
  }
}

export interface SyntheticLimits {
  readonly workingSetBytes: number;
  readonly memoryBytes: number;
  readonly seed: number;
}

/** A stage of the same shapes and types with random weights and no more blocks than a good measurement needs. */
export async function prepareSynthetic(request: PrepareRequest, limits: SyntheticLimits): Promise<PreparedStage> {
  const { header, work, range, folder, onProgress, signal } = request;
  const plan = planSynthetic(work, range, {
    ...limits,
    pinnedCount: describeModel(header, 0).pinnedBlockCount?.count ?? null,
  });
  const stageFile = join(folder, "synthetic.gguf");
  await writeSyntheticStage(pickBlocks(header, plan.headerBlocks), plan.range, stageFile, limits.seed, {
    onProgress: (done, total) => onProgress(done / total),
    signal,
  });
  return { stageFile, unitOf: plan.unitOf, builtUnits: [...plan.unitOf.values()] };
}

interface SyntheticPlan {
  /** Blocks of the made-up model, in order. */
  readonly headerBlocks: readonly number[];
  /** The part of the made-up model that is written. */
  readonly range: UnitRange;
  /** From units of the made-up model to those of the real one; what is written and nothing else. */
  readonly unitOf: ReadonlyMap<number, number>;
}

/** Pure. */
export function planSynthetic(
  work: ModelWork,
  range: UnitRange,
  limits: { readonly workingSetBytes: number; readonly memoryBytes: number; readonly pinnedCount: number | null },
): SyntheticPlan {
  const head = work.units.length - 1;
  const blockCount = head - 1;
  const built = chooseBlocks(work, range, limits);
  // Behind a model's last block only rows with wanted logits travel: a stage that ends before it must not be the end.
  const endsInside = built.length > 0 && range.end < head;
  const headerBlocks = built.length === 0 ? [blockCount - 1] : endsInside ? [...built, built.at(-1) ?? 0] : built;
  const madeHead = headerBlocks.length + 1;
  const unitOf = new Map<number, number>();
  if (range.first === 0) unitOf.set(0, 0);
  for (const [index, block] of built.entries()) unitOf.set(index + 1, block + 1);
  if (range.end === head + 1) unitOf.set(madeHead, head);
  const units = [...unitOf.keys()];
  if (units.length === 0) throw new NoodleError("USAGE", `units ${range.first}:${range.end} hold nothing to profile`);
  return { headerBlocks, range: { first: Math.min(...units), end: Math.max(...units) + 1 }, unitOf };
}

function listUnits(range: UnitRange): number[] {
  return Array.from({ length: range.end - range.first }, (_, index) => range.first + index);
}
