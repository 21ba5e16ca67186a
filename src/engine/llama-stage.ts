import { NoodleError } from "../common/index.ts";
import type { HookRegistry } from "../observe/index.ts";
import { EvalObserver } from "./eval-observer.ts";
import { parseSequenceState } from "./kv-state.ts";
import { LlamaContext } from "./llama-context.ts";
import { checkFill, checkInput, countOutputRows, findNonFinite, groupRuns, describeCall } from "./runs.ts";
import { sampleToken } from "./sampler.ts";
import { fillPattern, hashCanary } from "./canary.ts";
import { RowLayout } from "./row-layout.ts";
import { repeatCells } from "./kv-fill.ts";
import { type StepRecorder, toNs } from "./step-recorder.ts";
import { SlotTable } from "./slots.ts";
import type { StageFacts } from "./stage-facts.ts";
import type {
  KvLayer,
  RowRun,
  SamplingParams,
  SampledToken,
  Stage,
  StageConfig,
  StageForwardOptions,
  StageInfo,
  StageInput,
  StageOutput,
} from "./types.ts";

/** Rows that are really computed for a fabricated context; the others repeat them. */
const SEED_ROWS = 8;

/** A stage computed by libllama: blocks with or without embedding and head, or the head alone. */
export class LlamaStage implements Stage {
  readonly info: StageInfo;
  readonly #facts: StageFacts;
  readonly #context: LlamaContext;
  readonly #slots: SlotTable;
  readonly #observer: EvalObserver | undefined;
  readonly #isObservable: boolean;
  readonly #hooks: HookRegistry | undefined;

  /** @param hooks attached to this stage; detached when it closes */
  constructor(config: StageConfig, facts: StageFacts, hooks?: HookRegistry) {
    this.#facts = facts;
    this.#slots = new SlotTable(config.parallel);
    const maxRows = config.maxRows ?? 512;
    const isHookable = config.hookable === true || hooks !== undefined;
    this.#isObservable = isHookable || !facts.hasHead;
    this.#hooks = hooks;
    const context = new LlamaContext(config, facts, maxRows, (library) => {
      return this.#isObservable ? new EvalObserver(library, facts, hooks) : undefined;
    });
    this.#context = context;
    this.#observer = context.observer;
    this.info = {
      units: facts.units,
      unitCount: facts.unitCount,
      architecture: facts.architecture,
      nEmbd: facts.nEmbd,
      nVocab: facts.hasHead ? context.nVocab : 0,
      hasEmbedding: facts.hasEmbedding,
      hasHead: facts.hasHead,
      endsBlocks: facts.endsBlocks,
      weightsBytes: context.weightsBytes,
      kvBytes: facts.kvBytesPerToken * context.contextTokens * config.parallel,
      computeBufferBytes: context.computeBufferBytes,
      threads: config.threads,
      contextTokens: config.contextTokens,
      parallel: config.parallel,
      maxRows,
      engine: { build: context.library.build, variant: context.library.variant },
    };
    if (isHookable) this.#rehearse();
  }

  openSlot(slot: number, sampling: SamplingParams): void {
    this.#context.checkIdle();
    this.#slots.open(slot, sampling);
    this.#context.removePositions(slot, 0);
  }

  closeSlot(slot: number): void {
    this.#context.checkIdle();
    if (this.#slots.close(slot)) this.#context.removePositions(slot, 0);
  }

  nextPosition(slot: number): number {
    return this.#slots.get(slot).history.length;
  }

  truncate(slot: number, position: number): void {
    this.#context.checkIdle();
    this.#slots.truncate(slot, position);
    this.#context.removePositions(slot, position);
  }

  fillContext(slot: number, tokens: number): void {
    this.#context.checkIdle();
    const { history } = this.#slots.get(slot);
    checkFill(tokens, this.info.contextTokens);
    this.truncate(slot, 0);
    for (let i = 0; i < tokens; i++) history.push(0);
    if (tokens === 0 || this.#facts.headOnly) return; // which keeps no keys and values
    const seedRows = Math.min(tokens, SEED_ROWS, this.info.maxRows);
    this.#decodeFiller(slot, 0, seedRows);
    if (tokens === seedRows) return;
    const state = repeatCells(this.#context.readState(slot), this.#facts.cacheLayers, tokens);
    if (state !== null && this.#context.writeState(slot, state)) return;
    // The engine does not take it: compute it all, which gives the same sizes.
    this.#context.removePositions(slot, 0);
    for (let position = 0; position < tokens; position += this.info.maxRows)
      this.#decodeFiller(slot, position, Math.min(this.info.maxRows, tokens - position));
  }

  forward(input: StageInput, options: StageForwardOptions = {}): StageOutput {
    this.#context.checkIdle();
    const { info } = this;
    checkInput(
      input,
      {
        ...info,
        wantsHidden: !info.hasEmbedding,
        outputRowsOnly: this.#facts.headOnly,
        maxOutputs: this.#context.maxOutputs,
      },
      (slot) => this.#slots.find(slot)?.history.length,
    );
    const layout = new RowLayout(input.runs, info.nEmbd, this.#facts.headOnly, this.#facts.endsBlocks);
    const out = info.hasHead ? null : new Float32Array(layout.outRows * info.nEmbd);
    const sampled: SampledToken[] = [];
    if (options.observe !== undefined && !this.#isObservable) {
      throw new NoodleError(
        "USAGE",
        "this stage holds the head and was opened without `hookable` or hooks: it can not be observed",
      );
    }
    const startMs = performance.now();
    const recorder = this.#observer?.beginStep(options.observe ?? null, input.tokens.length, startMs);
    try {
      for (const group of groupRuns(input.runs))
        this.#computeGroup(group, input, layout, out, sampled, options, recorder);
    } catch (error) {
      for (const run of input.runs) this.truncate(run.slot, run.position);
      throw error;
    }
    const endMs = performance.now();
    return {
      hidden: out,
      sampled,
      computeNs: toNs(endMs - startMs),
      observation: recorder?.finish(endMs) ?? null,
    };
  }

  readKv(slot: number): readonly KvLayer[] {
    this.#slots.get(slot);
    const { blocks, cacheLayers } = this.#facts;
    if (blocks.length === 0) return [];
    const caches = parseSequenceState(this.#context.readState(slot), cacheLayers);
    const order = this.#facts.cacheBlocks; // block index of each cache layer, in cache order
    const layers = caches.flat().map((layer, i) => ({ block: order[i] as number, ...layer }));
    return layers.sort((a, b) => a.block - b.block);
  }

  canary(): string {
    return hashCanary(this);
  }

  close(): void {
    this.#context.close();
    this.#hooks?.detach();
  }

  /** Computes one row of nothing in the empty cache, so that the first real step finds its graph known. */
  #rehearse(): void {
    this.#observer?.learnNext();
    this.#decodeFiller(0, 0, 1);
    this.#context.clear();
  }

  /** Computes rows that mean nothing, unobserved. */
  #decodeFiller(sequence: number, position: number, rows: number): void {
    const { hasEmbedding, nEmbd } = this.#facts;
    const batch = this.#context.batch(rows, hasEmbedding ? 0 : nEmbd);
    if (hasEmbedding) for (let row = 0; row < rows; row++) batch.tokens[row] = (position + row) % this.#context.nVocab;
    else batch.embd.set(fillPattern(rows * nEmbd, position));
    for (let row = 0; row < rows; row++) batch.set(row, position + row, sequence, row === rows - 1);
    this.#context.decode(batch, null);
  }

  #computeGroup(
    group: readonly number[],
    input: StageInput,
    layout: RowLayout,
    out: Float32Array | null,
    sampled: SampledToken[],
    options: StageForwardOptions,
    recorder: StepRecorder | undefined,
  ): void {
    const runs = group.map((index) => input.runs[index] as RowRun);
    const batchRows = this.#submit(group, runs, input, layout);
    for (const [i, index] of group.entries()) {
      const { history } = this.#slots.get((runs[i] as RowRun).slot);
      for (const token of layout.tokensOf(index, input.tokens)) history.push(token);
    }
    if (this.#facts.hasHead) {
      const startMs = performance.now();
      const before = sampled.length;
      this.#sample(group, runs, layout, batchRows, sampled, options);
      if (sampled.length > before)
        recorder?.addOutside(this.info.unitCount - 1, "sampling", startMs, performance.now());
    } else {
      this.#collect(group, layout, out as Float32Array);
    }
  }

  /** Runs one engine call for a group of runs. @returns the first batch row of each run, or -1 where it has none. */
  #submit(group: readonly number[], runs: readonly RowRun[], input: StageInput, layout: RowLayout): readonly number[] {
    const { headOnly, hasEmbedding, hasHead, endsBlocks, nEmbd } = this.#facts;
    const rows = group.reduce((sum, index) => sum + layout.inRowsOf(index), 0);
    if (rows === 0) return group.map(() => -1); // a head without output rows has nothing to do
    const batch = this.#context.batch(rows, hasEmbedding ? 0 : nEmbd);
    const first: number[] = [];
    let row = 0;
    for (const [i, index] of group.entries()) {
      const run = runs[i] as RowRun;
      const count = layout.inRowsOf(index);
      first.push(row);
      if (hasEmbedding) batch.tokens.set(layout.tokensOf(index, input.tokens), row);
      else
        batch.embd.set(
          (input.hidden as Float32Array).subarray(layout.inOffset(index), layout.inOffset(index) + count * nEmbd),
          row * nEmbd,
        );
      for (let k = 0; k < count; k++) {
        const isOutput =
          headOnly || (!hasHead && !endsBlocks) || run.output === "all" || (run.output === "last" && k === count - 1);
        batch.set(row + k, headOnly ? row + k : run.position + k, headOnly ? 0 : run.slot, isOutput);
      }
      row += count;
    }
    if (headOnly) this.#context.clear(); // the zero block's cache means nothing: start it over for each call
    this.#context.decode(batch, {
      rows,
      sequences: headOnly ? 1 : runs.length,
      outputRows: runs.reduce((sum, run) => sum + countOutputRows(run), 0),
      ...describeCall(runs),
      hidden: hasEmbedding ? null : batch.embd.subarray(0, rows * nEmbd),
    });
    return first;
  }

  /** Takes the captured rows of a group to their places in the output. */
  #collect(group: readonly number[], layout: RowLayout, out: Float32Array): void {
    const captured = this.#observer?.captured;
    const { nEmbd } = this.#facts;
    const expected = group.reduce((sum, index) => sum + layout.outRowsOf(index), 0);
    if (captured === undefined || captured.length !== expected * nEmbd) {
      throw new NoodleError(
        "ENGINE_FAILED",
        `the engine gave ${captured === undefined ? "no hidden state" : `${captured.length / nEmbd} rows`}, ${expected} were expected`,
      );
    }
    const bad = findNonFinite(captured);
    if (bad >= 0)
      throw new NoodleError(
        "NON_FINITE",
        `hidden state holds ${captured[bad]} in row ${Math.floor(bad / nEmbd)} behind unit ${this.#facts.units.end - 1}`,
      );
    let at = 0;
    for (const index of group) {
      const length = layout.outRowsOf(index) * nEmbd;
      out.set(captured.subarray(at, at + length), layout.outOffset(index));
      at += length;
    }
  }

  #sample(
    group: readonly number[],
    runs: readonly RowRun[],
    layout: RowLayout,
    batchRows: readonly number[],
    sampled: SampledToken[],
    options: StageForwardOptions,
  ): void {
    for (const [i, index] of group.entries()) {
      const run = runs[i] as RowRun;
      if (countOutputRows(run) === 0) continue;
      const slot = this.#slots.get(run.slot);
      const row = (batchRows[i] as number) + layout.inRowsOf(index) - 1;
      const logits = this.#context.logits(row);
      const bad = findNonFinite(logits);
      if (bad >= 0) throw new NoodleError("NON_FINITE", `logits of token ${bad} are ${logits[bad]}`);
      const tokenId = sampleToken(
        this.#context.library,
        this.#context.pointer,
        row,
        this.#context.nVocab,
        slot.sampling,
        slot.history,
      );
      sampled.push({ run: index, tokenId, logits: options.wantLogits === true ? logits : null });
    }
  }
}
