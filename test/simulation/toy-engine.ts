import { must, NoodleError } from "../../src/common/index.ts";
import type {
  SamplingParams,
  SlotStart,
  StageConfig,
  StageInfo,
  StageInput,
  UnitRange,
} from "../../src/engine/index.ts";
import type { ForwardOutput, ForwardRequest } from "../../src/cluster/worker/engine-messages.ts";
import type { AsyncEngine } from "../../src/cluster/worker/stage-thread.ts";
import type { SimProcess, VirtualTime } from "./virtual-time.ts";
import {
  chooseToken,
  computeCell,
  describeRules,
  embed,
  fromHidden,
  leave,
  placeRows,
  toHidden,
  TOY,
  type ToyRules,
  toyClass,
} from "./toy-model.ts";

export interface ToyEngineOptions {
  readonly time: VirtualTime;
  readonly process: SimProcess;
  readonly rules: ToyRules;
  /** Time of a call, beside what its rows take. */
  readonly callMs: number;
  /** Draws whether a call fails, and how; null = it does not. @default never */
  readonly drawFailure?: () => NoodleError | null;
  /** Told of what no stage may ask of its engine. */
  readonly onMisuse: (text: string) => void;
}

interface Sequence {
  readonly seed: number;
  readonly tokens: number[];
  /** By block of the stage: the cell of each position. */
  readonly cells: number[][];
}

const ROW_MS = 0.05;

/** The engine of a simulated worker: one call after another, in simulated time. */
export class ToyEngine implements AsyncEngine {
  readonly #options: ToyEngineOptions;
  readonly #open = new Map<number, Sequence>();
  readonly #kept = new Map<number, Sequence>();
  #units: UnitRange = { first: 0, end: TOY.units };
  #config: StageConfig | null = null;
  #freeAtMs = 0;

  constructor(options: ToyEngineOptions) {
    this.#options = options;
  }

  get openSlots(): number {
    return this.#open.size;
  }

  start(): ReturnType<AsyncEngine["start"]> {
    return this.#answer(1, () => ({ build: "toy", variant: "toy", devices: [] }));
  }

  load(config: StageConfig): Promise<StageInfo> {
    return this.#answer(5, () => {
      const [first = 0, end = 0] = config.stageFile.split(":").map(Number);
      this.#units = { first, end };
      this.#config = config;
      this.#open.clear();
      this.#kept.clear();
      return this.#describe(config);
    });
  }

  probe(): Promise<string> {
    return this.#answer(1, () => describeRules(this.#options.rules, must(this.#config, "stage").threads));
  }

  openSlot(slot: number, sampling: SamplingParams, start: SlotStart = {}): Promise<void> {
    return this.#answer(0.05, () => {
      const { keepTokens = 0, copyFrom = slot } = start;
      if (this.#open.has(slot)) this.#options.onMisuse(`slot ${slot} is opened over an open one`);
      const source = copyFrom === slot ? this.#kept.get(slot) : (this.#open.get(copyFrom) ?? this.#kept.get(copyFrom));
      if (keepTokens > 0 && (source?.tokens.length ?? 0) < keepTokens)
        throw new NoodleError("PREFIX_GONE", `slot ${copyFrom} holds ${source?.tokens.length ?? 0} of ${keepTokens}`);
      const cells = this.#blocks().map((_, index) => source?.cells[index]?.slice(0, keepTokens) ?? []);
      this.#open.set(slot, { seed: sampling.seed, tokens: source?.tokens.slice(0, keepTokens) ?? [], cells });
      this.#kept.delete(slot);
    });
  }

  closeSlot(slot: number, keep: boolean): Promise<number> {
    return this.#answer(0.05, () => {
      const open = this.#open.get(slot);
      this.#open.delete(slot);
      if (!keep) this.#kept.delete(slot);
      else if (open !== undefined && open.tokens.length > 0) this.#kept.set(slot, open);
      return this.#kept.get(slot)?.tokens.length ?? 0;
    });
  }

  forward({ input, truncations }: ForwardRequest): Promise<ForwardOutput> {
    const { callMs, drawFailure, time } = this.#options;
    const startMs = Math.max(time.nowMs, this.#freeAtMs);
    return this.#answer(callMs + ROW_MS * input.tokens.length, () => {
      for (const { slot, position } of truncations) this.#truncate(slot, position);
      const failure = drawFailure?.() ?? null;
      if (failure !== null) throw failure;
      return this.#compute(input, startMs);
    });
  }

  readKv(slot: number): ReturnType<AsyncEngine["readKv"]> {
    return this.#answer(0.1, () => {
      const { cells } = this.#get(slot);
      return this.#blocks().map((block, index) => {
        const kBytes = new Uint8Array(Uint32Array.from(cells[index] ?? []).buffer);
        return { block, kBytes, vBytes: kBytes };
      });
    });
  }

  canary(): Promise<string> {
    return this.#answer(0.2, () => `canary ${this.#units.first}:${this.#units.end}`);
  }

  close(): Promise<void> {
    return this.#answer(0.1, () => {
      this.#open.clear();
      this.#kept.clear();
    });
  }

  #answer<T>(durationMs: number, work: () => T): Promise<T> {
    const { time, process } = this.#options;
    this.#freeAtMs = Math.max(time.nowMs, this.#freeAtMs) + durationMs;
    return new Promise((resolve, reject) => {
      time.schedule(this.#freeAtMs - time.nowMs, process, () => {
        try {
          resolve(work());
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
  }

  #compute(input: StageInput, startMs: number): ForwardOutput {
    const hasHead = this.#units.end === TOY.units;
    const endsBlocks = this.#units.end > TOY.blocks;
    const headOnly = this.#units.first > TOY.blocks;
    const leaving: number[] = [];
    const sampled: { run: number; tokenId: number; logits: null }[] = [];
    const places = placeRows(input);
    let row = 0;
    let hiddenRow = 0;
    for (const [index, run] of input.runs.entries()) {
      const sequence = this.#get(run.slot);
      if (run.position !== sequence.tokens.length)
        this.#options.onMisuse(
          `slot ${run.slot} has ${sequence.tokens.length} positions, the call begins at ${run.position}`,
        );
      for (let i = 0; i < run.rows; i++, row++) {
        const token = input.tokens[row] ?? 0;
        const position = sequence.tokens.push(token) - 1;
        const isOutput = run.output === "all" || (run.output === "last" && i === run.rows - 1);
        if (headOnly && !isOutput) continue;
        const { hidden } = input;
        let state =
          hidden === null ? embed(token) : fromHidden(hidden[hiddenRow * 2] ?? 0, hidden[hiddenRow * 2 + 1] ?? 0);
        hiddenRow += 1;
        const place = must(places[index], "place");
        const rowClass = toyClass(this.#options.rules, { ...place, place: place.place + i, runRows: run.rows });
        for (const [at, block] of this.#blocks().entries()) {
          const cells = must(sequence.cells[at], "cells");
          const cell = computeCell(cells[position - 1] ?? 0, state, block, rowClass);
          cells[position] = cell;
          state = leave(state, cell);
        }
        if (isOutput || !endsBlocks) leaving.push(...toHidden(state));
        if (hasHead && isOutput && i === run.rows - 1 && (run.following ?? null) === null)
          sampled.push({ run: index, tokenId: chooseToken(state, sequence.seed, position + 1), logits: null });
      }
    }
    const endNs = Math.round(this.#options.time.nowMs * 1e6);
    const startNs = Math.round(startMs * 1e6);
    const hidden = hasHead ? null : Float32Array.from(leaving);
    return { hidden, sampled, logprobs: [], computeNs: endNs - startNs, observation: null, startNs, endNs };
  }

  #truncate(slot: number, position: number): void {
    const { tokens, cells } = this.#get(slot);
    tokens.length = Math.min(tokens.length, position);
    for (const list of cells) list.length = Math.min(list.length, position);
  }

  #get(slot: number): Sequence {
    const sequence = this.#open.get(slot);
    if (sequence !== undefined) return sequence;
    throw new NoodleError("SESSION_NOT_FOUND", `slot ${slot} is not open`);
  }

  /** Blocks of the stage, 0-based. */
  #blocks(): readonly number[] {
    const { first, end } = this.#units;
    return Array.from({ length: TOY.blocks }, (_, block) => block).filter((b) => b + 1 >= first && b + 1 < end);
  }

  #describe({ contextTokens, parallel, threads, maxRows = 64 }: StageConfig): StageInfo {
    const hasEmbedding = this.#units.first === 0;
    const hasHead = this.#units.end === TOY.units;
    return {
      units: this.#units,
      unitCount: TOY.units,
      architecture: "toy",
      nEmbd: TOY.width,
      nVocab: hasEmbedding || hasHead ? TOY.vocabulary : 0,
      hasEmbedding,
      hasHead,
      endsBlocks: this.#units.end > TOY.blocks,
      weightsBytes: 1000,
      kvBytes: 8 * contextTokens * parallel,
      computeBufferBytes: 0,
      threads,
      contextTokens,
      parallel,
      maxRows,
      engine: { build: "toy", variant: "toy" },
    };
  }
}
