import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must, NoodleError } from "../common/index.ts";
import type { StageInfo } from "../engine/index.ts";
import type { GgufHeader } from "../gguf/index.ts";
import { describeModel, generateDummy, makeDummyHeader, parseUnits, type UnitRange } from "../model/index.ts";
import {
  completeProfile,
  describeWork,
  type ModelWork,
  type ProfileDocument,
  type ProfileModel,
  type ProfileSkip,
  type RawProfile,
} from "../profile/index.ts";
import { type Cell, formatCell, orderCells } from "./cells.ts";
import { SampleCollector } from "./collect.ts";
import { readModelHeader } from "./header-only.ts";
import { describeMachine } from "./describe-machine.ts";
import { type MachineFacts, readMachine } from "./machine.ts";
import { type MeasureEnd, runMeasureProcess } from "./measure-process.ts";
import type { MachineJob, MachineRates, MeasureMessage } from "./messages.ts";
import { type CompiledProfileOptions, compileProfileOptions, type ProfileOptions } from "./options.ts";
import { type PreparedStage, prepareReal, prepareSynthetic } from "./prepare.ts";
import { chooseShape, type ShapeChoice } from "./stage-shape.ts";

/** What a run says of itself while it goes on. */
export type ProfileProgress =
  | { readonly type: "phase"; readonly words: string }
  /** Within the phase, 0 to 1. */
  | { readonly type: "update"; readonly fraction: number; readonly words: string };

/** The shape to profile, before anything runs. */
interface Target {
  readonly header: GgufHeader;
  readonly work: ModelWork;
  readonly model: ProfileModel;
  readonly range: UnitRange;
  readonly contextLength: number;
}

/** Weights that are read in every step must be so many times the last-level cache. */
const CACHES_OF_WORKING_SET = 4;
/** Where the system does not tell the cache: larger than most. */
const UNKNOWN_CACHE_BYTES = 64 * 2 ** 20;
/** Of what is free; the rest is for compute buffers, this process and everybody else. */
const MEMORY_SHARE = 0.8;
/** Of that, what made-up layers may take; the rest is for KV. */
const WEIGHTS_SHARE = 0.6;
const COMPUTE_ALLOWANCE_BYTES = 256 * 2 ** 20;
const PROBE = { embd: 1024, ff: 4096 } as const;
/** Of all weight types the fastest to make and to multiply everywhere. */
const PROBE_FALLBACK_TYPE = "q8_0";

/**
 * Measures what every unit of a model costs on this machine, in a child process, and says what it means.
 *
 * An interrupted run, and one whose engine dies, gives what it measured: a document with `partial: true`. It throws only
 * when there is nothing to give.
 *
 * @throws NoodleError `USAGE`; as `openGguf`; `CONTEXT_EXCEEDED` and `MEMORY_INSUFFICIENT` when no cell can be had;
 *   `INTERRUPTED`, `ENGINE_ABORTED`, `ENGINE_LOAD_FAILED` and what else the engine may say before the first sample
 */
export async function profileModel(
  options: ProfileOptions,
  onProgress: (progress: ProfileProgress) => void = () => undefined,
  signal: AbortSignal = new AbortController().signal,
): Promise<ProfileDocument> {
  const compiled = compileProfileOptions(options);
  if (signal.aborted) throw NoodleError.from(signal.reason, "INTERRUPTED");
  const target = await readTarget(compiled);
  const machine = readMachine();
  const folder = await mkdtemp(join(tmpdir(), "noodle-profile-"));
  try {
    const run = new ProfileRun(compiled, target, machine, folder, onProgress, signal);
    return completeProfile(await run.measure());
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function readTarget(options: CompiledProfileOptions): Promise<Target> {
  const { like, model, type } = options;
  const source =
    model === null
      ? { header: makeDummyHeader({ like: must(like, "shape"), type }), headerSha256: null, fileBytes: 0 }
      : await readModelHeader(model);
  const { header, headerSha256, fileBytes } = source;
  const description = describeModel(header, fileBytes);
  const work = describeWork(header, fileBytes);
  const unitCount = work.units.length;
  return {
    header,
    work,
    range: options.units === null ? { first: 0, end: unitCount } : parseUnits(options.units, unitCount),
    contextLength: description.contextLength,
    model: {
      name: like ?? description.name,
      architecture: description.architecture,
      header_sha256: headerSha256,
      path: model,
      file_bytes: fileBytes,
      unit_count: unitCount,
      embedding_length: description.embeddingLength,
      vocabulary: description.vocabSize,
      weight_type: findMainType(work),
    },
  };
}

/** The type of most of the blocks' bytes. */
function findMainType(work: ModelWork): string {
  const bytes = new Map<string, number>();
  for (const tensor of work.units.filter((unit) => unit.kind === "block").flatMap((unit) => unit.tensors)) {
    bytes.set(tensor.type, (bytes.get(tensor.type) ?? 0) + tensor.bytes);
  }
  return [...bytes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "unknown";
}

/** One run from the header to the raw profile. */
class ProfileRun {
  readonly #options: CompiledProfileOptions;
  readonly #target: Target;
  readonly #machine: MachineFacts;
  readonly #folder: string;
  readonly #onProgress: (progress: ProfileProgress) => void;
  readonly #signal: AbortSignal;
  readonly #collector = new SampleCollector();
  #rates: MachineRates | null = null;
  #info: StageInfo | null = null;
  #skipped: readonly ProfileSkip[] | null = null;

  constructor(
    options: CompiledProfileOptions,
    target: Target,
    machine: MachineFacts,
    folder: string,
    onProgress: (progress: ProfileProgress) => void,
    signal: AbortSignal,
  ) {
    this.#options = options;
    this.#target = target;
    this.#machine = machine;
    this.#folder = folder;
    this.#onProgress = onProgress;
    this.#signal = signal;
  }

  async measure(): Promise<RawProfile> {
    const { budgetMs, seed, level, threads, engine } = this.#options;
    const stage = await this.#prepare();
    const facts = this.#countBytes(stage);
    const choice = this.#chooseShape(facts);
    const { shape } = choice;
    if (shape === null) throw this.#explainNothing(choice.skipped, facts.weightsBytes);
    const machine = await this.#prepareMachineJob();
    const end = await runMeasureProcess(
      {
        engine,
        stageFile: stage.stageFile,
        shape,
        threads,
        level,
        cells: choice.cells,
        budgetMs,
        seed,
        vocabulary: this.#target.model.vocabulary,
        weightsBytes: facts.readBytes,
        kvBytesPerToken: facts.kvBytesPerToken,
        machine,
      },
      (message) => this.#take(message),
      this.#signal,
    );
    return this.#finish(stage, choice, end, facts.readBytes);
  }

  async #prepare(): Promise<PreparedStage> {
    const { header, work, range } = this.#target;
    const request = {
      header,
      work,
      range,
      folder: this.#folder,
      onProgress: (fraction: number) => this.#onProgress({ type: "update", fraction, words: "" }),
      signal: this.#signal,
    };
    if (this.#options.synthetic) {
      this.#onProgress({ type: "phase", words: "making layers of the same shapes" });
      const limits = {
        workingSetBytes: CACHES_OF_WORKING_SET * this.#lastLevelCacheBytes(),
        memoryBytes: (this.#memoryBytes() - COMPUTE_ALLOWANCE_BYTES) * WEIGHTS_SHARE,
        seed: this.#options.seed,
      };
      return prepareSynthetic(request, limits);
    }
    const path = must(this.#options.model, "model");
    if (range.first > 0 || range.end < work.units.length) {
      this.#onProgress({ type: "phase", words: `cutting units ${range.first}:${range.end}` });
    }
    return prepareReal(path, request);
  }

  #countBytes({ builtUnits }: PreparedStage): {
    /** All weights. */
    readonly weightsBytes: number;
    /** Those that every step reads. */
    readonly readBytes: number;
    readonly kvBytesPerToken: number;
  } {
    let [weightsBytes, readBytes, kvBytesPerToken] = [0, 0, 0];
    for (const index of builtUnits) {
      const unit = must(this.#target.work.units[index], `unit ${index}`);
      const bytes = unit.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
      weightsBytes += bytes;
      if (unit.kind !== "embedding") readBytes += bytes;
      kvBytesPerToken += unit.kvBytesPerToken;
    }
    return { weightsBytes, readBytes, kvBytesPerToken };
  }

  #chooseShape(facts: { readonly weightsBytes: number; readonly kvBytesPerToken: number }): ShapeChoice {
    const { contextLength } = this.#target;
    const kvLimitBytes = this.#memoryBytes() - facts.weightsBytes - COMPUTE_ALLOWANCE_BYTES;
    if (kvLimitBytes < 0) throw this.#explainMemory(facts.weightsBytes);
    return chooseShape(orderCells(this.#options), {
      contextLength,
      kvBytesPerToken: facts.kvBytesPerToken,
      kvLimitBytes,
    });
  }

  #memoryBytes(): number {
    return this.#options.memoryBytes ?? this.#machine.memoryFreeBytes * MEMORY_SHARE;
  }

  #lastLevelCacheBytes(): number {
    const { l2, l3 } = this.#machine.cacheBytes;
    return Math.max(l2, l3) === 0 ? UNKNOWN_CACHE_BYTES : Math.max(l2, l3);
  }

  #explainNothing(skipped: readonly ProfileSkip[], weightsBytes: number): NoodleError {
    const first = skipped[0];
    if (first === undefined) return this.#explainMemory(weightsBytes);
    const { contextLength } = this.#target;
    const code =
      contextLength > 0 && first.reason.includes(String(contextLength)) ? "CONTEXT_EXCEEDED" : "MEMORY_INSUFFICIENT";
    return new NoodleError(code, `no cell can be measured: ${formatCell(first)}: ${first.reason}`);
  }

  #explainMemory(weightsBytes: number): NoodleError {
    const haveBytes = Math.floor(this.#memoryBytes());
    return new NoodleError(
      "MEMORY_INSUFFICIENT",
      `the weights need ${weightsBytes} bytes beside ${COMPUTE_ALLOWANCE_BYTES} for computing, ${haveBytes} may be used; --units profiles a part, --synthetic fewer layers of the same shapes`,
      { details: { needBytes: weightsBytes + COMPUTE_ALLOWANCE_BYTES, haveBytes } },
    );
  }

  async #prepareMachineJob(): Promise<MachineJob> {
    const probeFile = join(this.#folder, "probe.gguf");
    const shape = { architecture: "llama", layers: 2, heads: 8, vocab: 512, contextLength: 512, ...PROBE };
    const write = (type: string): Promise<unknown> =>
      generateDummy({ ...shape, type }, probeFile, { signal: this.#signal });
    await write(this.#target.model.weight_type).catch((error: unknown) => {
      if (error instanceof NoodleError && error.code === "USAGE") return write(PROBE_FALLBACK_TYPE);
      throw error;
    });
    const wantedBytes = CACHES_OF_WORKING_SET * this.#lastLevelCacheBytes();
    return {
      readBytes: Math.floor(Math.min(wantedBytes, 2 ** 30, this.#machine.memoryFreeBytes / 8)),
      probeFile,
      probeFlopsPerRow: 2 * 3 * PROBE.embd * PROBE.ff,
    };
  }

  #take(message: MeasureMessage): void {
    switch (message.type) {
      case "phase":
        this.#onProgress({ type: "phase", words: message.words });
        return;
      case "machine":
        this.#rates = message.rates;
        return;
      case "stage":
        this.#info = message.info;
        return;
      case "turn":
        this.#collector.add(message.samples);
        this.#onProgress({ type: "update", fraction: message.progress, words: message.words });
        return;
      case "done":
        this.#skipped = message.skipped;
        return;
      case "failed":
        return;
      default:
        message satisfies never;
    }
  }

  /** @throws the end's error when nothing was measured */
  #finish(stage: PreparedStage, choice: ShapeChoice, end: MeasureEnd, readBytes: number): RawProfile {
    const cells = this.#collector.finish(stage.unitOf);
    if (end.type !== "done" && cells.length === 0) throw end.error;
    const { threads, level, budgetMs, synthetic, prefillRows, decodeRows, contexts } = this.#options;
    const { range, work, model } = this.#target;
    const partialReason = end.type === "done" ? null : end.error.message;
    const unfinished = partialReason === null ? [] : this.#listUnfinished(choice.cells, partialReason);
    return {
      createdUnixMs: Date.now(),
      noodlecoreVersion: this.#options.noodlecoreVersion,
      machine: describeMachine(this.#machine, must(this.#rates, "rates"), must(this.#info, "stage").engine, {
        cells,
        readBytes,
        threads,
        beyondCaches: readBytes >= CACHES_OF_WORKING_SET * this.#lastLevelCacheBytes(),
        weightType: model.weight_type,
      }),
      model,
      settings: {
        units: `${range.first}:${range.end}`,
        threads,
        level,
        prefill_rows: prefillRows,
        decode_rows: decodeRows,
        contexts,
        budget_ms: budgetMs,
        synthetic,
        synthetic_blocks: synthetic
          ? stage.builtUnits.filter((unit) => work.units[unit]?.kind === "block").length
          : null,
      },
      partialReason,
      work,
      cells,
      skipped: [...choice.skipped, ...(this.#skipped ?? unfinished)],
    };
  }

  #listUnfinished(cells: readonly Cell[], reason: string): ProfileSkip[] {
    return cells
      .filter((cell) => !this.#collector.has(cell))
      .map((cell) => ({ ...cell, reason: `the run ended before: ${reason}` }));
  }
}
