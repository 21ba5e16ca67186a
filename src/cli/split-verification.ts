import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NoodleError } from "../common/index.ts";
import { compareRuns, GREEDY, hashKv, openStage, type PipelineRun, type Stage, StageChain } from "../engine/index.ts";
import { type GgufFile, openGguf } from "../gguf/index.ts";
import {
  describeModel,
  formatSplit,
  hashModel,
  type ModelHashes,
  parseSplit,
  sourceFromFile,
  type Split,
  splitByBytes,
  writeStage,
} from "../model/index.ts";
import type { CommandContext } from "./command.ts";

/** Rows of each step: on both sides of 64 rows, of the groups that kernels take, and single rows as in decoding. */
const STEP_ROWS = [1, 2, 4, 7, 63, 64, 1, 1, 1];
const TOTAL_ROWS = STEP_ROWS.reduce((sum, rows) => sum + rows, 0);
const MAX_ROWS = 64;

/**
 * Cuts a model into the stages of a split, in a temporary folder, and compares them with the undivided model: logits and
 * KV bytes of rows in steps of several sizes. For architectures that no test covers.
 *
 * @throws NoodleError `VERIFY_FAILED`, `INTERRUPTED`
 */
export async function verifySplit(
  file: GgufFile,
  hashes: ModelHashes,
  split: Split,
  threads: number,
  signal: AbortSignal,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "noodle-verify-"));
  try {
    const paths = split.map((_, index) => join(folder, `stage-${index}.gguf`));
    for (const [index, units] of split.entries()) {
      const path = paths[index] ?? "";
      await writeStage(sourceFromFile(file), file.header, units, path, { hashes, allowUnverified: true, signal });
    }
    const config = { contextTokens: 256, parallel: 1, threads, maxRows: MAX_ROWS };
    const undivided = await runSteps(await openStage({ ...config, stageFile: file.path }), signal);
    const stages: Stage[] = [];
    for (const stageFile of paths) stages.push(await openStage({ ...config, stageFile }));
    const divided = await runSteps(new StageChain(stages), signal);
    const { identicalLogits, identicalKv, identicalTokens, firstDifference } = compareRuns(divided, undivided);
    if (identicalLogits && identicalKv && identicalTokens) return;
    throw new NoodleError(
      "VERIFY_FAILED",
      `the split ${formatSplit(split)} is not exact for this model: ${firstDifference ?? "unknown"}`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Feeds fixed tokens step by step; closes what it was given. */
async function runSteps(
  runner: Pick<Stage, "openSlot" | "forward" | "readKv" | "close">,
  signal: AbortSignal,
): Promise<PipelineRun> {
  try {
    runner.openSlot(0, GREEDY);
    const tokenIds: number[] = [];
    const logits: Float32Array[] = [];
    const tokens = Int32Array.from({ length: TOTAL_ROWS }, (_, index) => (index * 7 + 3) % 97);
    let position = 0;
    for (const rows of STEP_ROWS) {
      signal.throwIfAborted();
      const run = { slot: 0, position, rows, output: "last" as const };
      const { sampled } = runner.forward(
        { runs: [run], tokens: tokens.subarray(position, position + rows), hidden: null },
        { wantLogits: true },
      );
      for (const token of sampled) {
        tokenIds.push(token.tokenId);
        if (token.logits !== null) logits.push(token.logits);
      }
      position += rows;
      await new Promise(setImmediate); // let a signal through
    }
    return { tokenIds, logits, kv: hashKv(runner, 0) };
  } finally {
    runner.close();
  }
}

export interface SupportRequest {
  readonly model: string;
  /** As the user wrote it; by bytes when absent. */
  readonly split: string | undefined;
  readonly workers: number;
  readonly threads: number;
  /** `--unverified` */
  readonly allowUnverified: boolean;
}

/**
 * Refuses to cut a model of an architecture that no test covers, before anything is started; with `--unverified` the
 * split is verified here first. The engine must be prepared.
 *
 * @throws NoodleError `MODEL_UNVERIFIED` naming the flag; as `verifySplit`
 */
export async function requireExactSplit({ out, signal }: CommandContext, request: SupportRequest): Promise<void> {
  const { split, workers, threads } = request;
  const file = await openGguf(request.model);
  try {
    const model = describeModel(file.header, file.fileBytes);
    if (model.support !== "unverified" || workers === 1) return;
    if (!request.allowUnverified) {
      throw new NoodleError(
        "MODEL_UNVERIFIED",
        `no test has verified cuts of the architecture "${model.architecture}"; --unverified verifies this one first`,
        { details: { architecture: model.architecture } },
      );
    }
    out.progress.phase(`verifying the split: no test has covered the architecture "${model.architecture}"`);
    const stages = split === undefined ? splitByBytes(model, workers) : parseSplit(split, model);
    await verifySplit(file, await hashModel(file, undefined, signal), stages, threads, signal);
    out.note(`the split ${formatSplit(stages)} is exact on this machine`);
  } finally {
    await file.close();
  }
}
