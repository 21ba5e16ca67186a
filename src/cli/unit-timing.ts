import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "../common/index.ts";
import { GREEDY, openStage, type RunOutput, type Stage, StageChain } from "../engine/index.ts";
import type { GgufFile } from "../gguf/index.ts";
import { type ModelHashes, sourceFromFile, writeStage } from "../model/index.ts";

export interface UnitTiming {
  readonly unit: number;
  /** Median time of a step of one row. */
  readonly decodeMs: number;
  /** Time of one row within a step of `PREFILL_ROWS` rows, median. */
  readonly prefillMsPerRow: number;
}

const PREFILL_ROWS = 32;
const PREFILL_STEPS = 3;
const DECODE_STEPS = 24;

/**
 * Times every unit of a model alone: each is cut into a file of its own, and all of them run behind one another in this
 * process. Needs a model that may be cut everywhere.
 */
export async function timeUnits(
  file: GgufFile,
  hashes: ModelHashes,
  unitCount: number,
  threads: number,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<readonly UnitTiming[]> {
  const folder = await mkdtemp(join(tmpdir(), "noodle-units-"));
  const stages: Stage[] = [];
  try {
    for (let unit = 0; unit < unitCount; unit++) {
      const stageFile = join(folder, `unit-${unit}.gguf`);
      await writeStage(sourceFromFile(file), file.header, { first: unit, end: unit + 1 }, stageFile, {
        hashes,
        signal,
      });
      stages.push(await openStage({ stageFile, contextTokens: 256, parallel: 1, threads, maxRows: PREFILL_ROWS }));
      onProgress((unit + 1) / unitCount);
    }
    // Checks that the units fit together.
    const chain = new StageChain(stages);
    chain.openSlot(0, GREEDY);
    return await measure(chain.stages, signal);
  } finally {
    for (const stage of stages) stage.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(stages: readonly Stage[], signal: AbortSignal): Promise<readonly UnitTiming[]> {
  const decode: number[][] = stages.map(() => []);
  const prefill: number[][] = stages.map(() => []);
  const steps = [...Array<number>(PREFILL_STEPS).fill(PREFILL_ROWS), ...Array<number>(DECODE_STEPS).fill(1)];
  let position = 0;
  for (const rows of steps) {
    signal.throwIfAborted();
    const tokens = Int32Array.from({ length: rows }, (_, row) => 5 + ((position + row) % 200));
    const output: RunOutput = "last";
    let hidden: Float32Array | null = null;
    for (const [index, stage] of stages.entries()) {
      const result = stage.forward({ runs: [{ slot: 0, position, rows, output }], tokens, hidden });
      hidden = result.hidden;
      const samples = rows === 1 ? decode : prefill;
      must(samples[index], "samples").push(result.computeNs / 1e6 / rows);
    }
    position += rows;
    await new Promise(setImmediate); // let a signal through
  }
  return stages.map((_, unit) => ({
    unit,
    decodeMs: median(must(decode[unit], "samples")),
    prefillMsPerRow: median(must(prefill[unit], "samples")),
  }));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
