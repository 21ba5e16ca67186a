import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { must, NoodleError } from "../common/index.ts";
import { checkFill, checkInput } from "./check-input.ts";
import {
  copyFakeKv,
  cutFakeKv,
  embedToken,
  type FakeKv,
  makeFakeKv,
  readFakeLogits,
  runFakeBlocks,
} from "./fake-arithmetic.ts";
import { observeFakeStep } from "./fake-observation.ts";
import type { FakeModel } from "./fake-model.ts";
import { FakeSampler } from "./fake-sampler.ts";
import { readLogprobs } from "./logprobs.ts";
import { SlotTable } from "./slots.ts";
import { GREEDY } from "./types.ts";
import type {
  KvLayer,
  RowLogprobs,
  RowRun,
  SampledToken,
  SamplingParams,
  SlotStart,
  Stage,
  StageConfig,
  StageForwardOptions,
  StageInfo,
  StageInput,
  StageOutput,
} from "./types.ts";

/**
 * A stage of integer arithmetic that keeps the contract of `Stage`: every output value depends on every earlier
 * token and position through the KV state, so a lost, doubled or reordered step changes what follows. Any split gives
 * the bits of the undivided fake; dummy rows are checked and not computed.
 */
export class FakeStage implements Stage {
  readonly info: StageInfo;
  readonly #model: FakeModel;
  readonly #config: StageConfig;
  readonly #slots: SlotTable;
  readonly #kv = new Map<number, FakeKv>();
  /** Undefined for a stage without head. */
  readonly #sampler: FakeSampler | undefined;
  readonly #blocks: readonly number[];
  #closed = false;

  constructor(model: FakeModel, config: StageConfig) {
    const { units, layers, nEmbd, nVocab } = model;
    if (units.first < 0 || units.end > layers + 2 || units.first >= units.end) {
      throw new NoodleError("CUT_OUT_OF_RANGE", `units ${units.first}:${units.end} are not in 0:${layers + 2}`);
    }
    this.#model = model;
    this.#config = config;
    this.#slots = new SlotTable(config.parallel);
    this.#blocks = Array.from({ length: layers }, (_, block) => block).filter(
      (block) => block + 1 >= units.first && block + 1 < units.end,
    );
    const hasEmbedding = units.first === 0;
    const hasHead = units.end === layers + 2;
    this.#sampler = hasHead ? new FakeSampler(nVocab, model.endToken) : undefined;
    this.info = {
      units,
      unitCount: layers + 2,
      architecture: "fake",
      nEmbd,
      nVocab: hasEmbedding || hasHead ? nVocab : 0,
      hasEmbedding,
      hasHead,
      endsBlocks: units.end >= layers + 1,
      weightsBytes: (units.end - units.first) * nEmbd * 4,
      kvBytes: this.#blocks.length * 2 * 4 * nEmbd * config.contextTokens * config.parallel,
      computeBufferBytes: 0,
      threads: config.threads,
      contextTokens: config.contextTokens,
      parallel: config.parallel,
      maxRows: config.maxRows ?? 512,
      engine: { build: "fake", variant: "fake" },
    };
  }

  /** Reads the model from the JSON of `config.stageFile`. */
  static open(config: StageConfig): FakeStage {
    const parsed: unknown = JSON.parse(readFileSync(config.stageFile, "utf8"));
    return new FakeStage(parsed as FakeModel, config);
  }

  openSlot(slot: number, sampling: SamplingParams, start?: SlotStart): void {
    this.#alive();
    const { tokens, source } = this.#slots.findBeginning(slot, start);
    const grammar = this.#sampler?.prepare(sampling) ?? null;
    const kv = source === undefined ? makeFakeKv(this.#blocks.length) : this.#kvOf(source);
    this.#kv.set(slot, copyFakeKv(kv, tokens * this.info.nEmbd));
    this.#slots.open(slot, { sampling, grammar, start });
  }

  closeSlot(slot: number, keep = false): void {
    this.#alive();
    if (this.#slots.close(slot, keep)) this.#kv.delete(slot);
  }

  keptTokens(slot: number): number {
    this.#alive();
    return this.#slots.countKept(slot);
  }

  nextPosition(slot: number): number {
    this.#alive();
    return this.#slots.get(slot).history.length;
  }

  truncate(slot: number, position: number): void {
    this.#alive();
    this.#slots.truncate(slot, position);
    cutFakeKv(this.#kvOf(slot), position * this.info.nEmbd);
  }

  /** Keys and values of token 0 at every position. */
  fillContext(slot: number, tokens: number): void {
    this.#alive();
    const { history } = this.#slots.get(slot);
    checkFill(tokens, this.#config.contextTokens);
    this.truncate(slot, 0);
    for (let position = 0; position < tokens; position++) {
      runFakeBlocks(this.#blocks, this.#kvOf(slot), position, this.#enter(null, 0, 0));
      history.push(0);
    }
  }

  forward(input: StageInput, options: StageForwardOptions = {}): StageOutput {
    this.#alive();
    const startNs = process.hrtime.bigint();
    if (options.observe !== undefined && this.info.hasHead && this.#config.hookable !== true)
      throw new NoodleError("USAGE", "this stage was not opened with `hookable`: it can not be observed");
    const limits = { ...this.info, nVocab: this.info.hasHead ? this.info.nVocab : 0 };
    const outputRowsOnly = this.#comesAfterBlocks();
    checkInput(input, { ...limits, wantsHidden: !this.info.hasEmbedding, outputRowsOnly }, this.#slots);
    this.#misbehave(input.tokens);
    const leaving: Int32Array[] = [];
    const sampled: SampledToken[] = [];
    const logprobs: RowLogprobs[] = [];
    let row = 0;
    let hiddenRow = 0;
    for (const [index, run] of input.runs.entries()) {
      const { history } = this.#slots.get(run.slot);
      for (let i = 0; i < run.rows; i++) {
        const token = must(input.tokens[row + i], "token");
        const position = history.push(token) - 1;
        const wanted = isOutputRow(run, i);
        if (outputRowsOnly && !wanted) continue;
        const hidden = this.#enter(input.hidden, hiddenRow++, token);
        runFakeBlocks(this.#blocks, this.#kvOf(run.slot), position, hidden);
        if (wanted || !this.info.endsBlocks) leaving.push(hidden);
        if (!this.info.hasHead || !wanted) continue;
        const following = i < run.rows - 1 ? must(input.tokens[row + i + 1], "token") : (run.following ?? null);
        const logits = readFakeLogits(hidden, this.#model.nVocab);
        const tokenId = following ?? must(this.#sampler, "sampler").sample(logits, this.#slots.get(run.slot));
        if (following === null)
          sampled.push({ run: index, tokenId, logits: options.wantLogits === true ? logits : null });
        const top = run.topLogprobs ?? null;
        if (top !== null) logprobs.push({ run: index, row: i, ...readLogprobs(logits, tokenId, top) });
      }
      row += run.rows;
    }
    const computeNs = Number(process.hrtime.bigint() - startNs);
    const observation =
      options.observe === undefined ? null : observeFakeStep(this.info, options.observe, row, computeNs);
    return {
      hidden: this.info.hasHead ? null : joinRows(leaving, this.info.nEmbd),
      sampled,
      logprobs,
      computeNs,
      observation,
    };
  }

  readKv(slot: number): readonly KvLayer[] {
    this.#alive();
    this.#slots.get(slot);
    const kv = this.#kvOf(slot);
    const bytes = (list: readonly number[] | undefined): Uint8Array =>
      new Uint8Array(Int32Array.from(list ?? []).buffer);
    return this.#blocks.map((block, i) => ({ block, kBytes: bytes(kv.keys[i]), vBytes: bytes(kv.values[i]) }));
  }

  canary(): string {
    this.#alive();
    if (this.#model.faults?.canaryNonFinite === true) {
      throw new NoodleError("NON_FINITE", "the canary's output holds NaN");
    }
    const { faults: _faults, ...sound } = this.#model;
    const scratch = new FakeStage(sound, { ...this.#config, parallel: 1 });
    scratch.openSlot(0, GREEDY);
    const rows = Math.min(4, this.#config.contextTokens);
    const tokens = Int32Array.from({ length: rows }, (_, i) => (i * 7) % this.#model.nVocab);
    const hidden = this.info.hasEmbedding ? null : Float32Array.from({ length: rows * this.info.nEmbd }, (_, i) => i);
    const out = scratch.forward(
      { runs: [{ slot: 0, position: 0, rows, output: "all" }], tokens, hidden },
      { wantLogits: true },
    );
    const hash = createHash("sha256");
    if (out.hidden !== null) hash.update(new Uint8Array(out.hidden.buffer));
    for (const { logits } of out.sampled) if (logits !== null) hash.update(new Uint8Array(logits.buffer));
    return hash.digest("hex");
  }

  close(): void {
    this.#closed = true;
    this.#kv.clear();
  }

  #alive(): void {
    if (this.#closed) throw new NoodleError("ILLEGAL_STATE", "the fake stage is closed");
  }

  #kvOf(slot: number): FakeKv {
    return must(this.#kv.get(slot), `keys and values of slot ${slot}`);
  }

  /** True for a stage that begins with the head: only output rows reach it. */
  #comesAfterBlocks(): boolean {
    return this.#model.units.first === this.#model.layers + 1;
  }

  #misbehave(tokens: Int32Array): void {
    const faults = this.#model.faults;
    if (faults === undefined) return;
    if (faults.computeMs !== undefined) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, faults.computeMs);
    // Not process.abort(), which a worker thread is not given.
    if (faults.abortOnToken !== undefined && tokens.includes(faults.abortOnToken)) process.kill(process.pid, "SIGABRT");
    if (faults.nonFiniteOnToken !== undefined && tokens.includes(faults.nonFiniteOnToken)) {
      throw new NoodleError("NON_FINITE", "the output holds NaN");
    }
  }

  #enter(hidden: Float32Array | null, row: number, token: number): Int32Array {
    const { nEmbd } = this.info;
    if (hidden === null) return embedToken(token, nEmbd);
    return Int32Array.from(hidden.subarray(row * nEmbd, (row + 1) * nEmbd));
  }
}

function joinRows(rows: readonly Int32Array[], width: number): Float32Array {
  const joined = new Float32Array(rows.length * width);
  for (const [index, values] of rows.entries()) joined.set(values, index * width);
  return joined;
}

function isOutputRow(run: RowRun, row: number): boolean {
  return run.output === "all" || (run.output === "last" && row === run.rows - 1);
}
