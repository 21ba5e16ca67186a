import { NoodleError } from "../common/index.ts";
import { OutputCapture } from "./capture.ts";
import { parseSequenceState } from "./kv-state.ts";
import { LlamaContext } from "./llama-context.ts";
import { checkInput, countOutputRows, findNonFinite, groupRuns } from "./runs.ts";
import { sampleToken } from "./sampler.ts";
import { hashCanary } from "./canary.ts";
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

/** A stage computed by libllama: blocks with or without embedding and head, or the head alone. */
export class LlamaStage implements Stage {
  readonly info: StageInfo;
  readonly #facts: StageFacts;
  readonly #context: LlamaContext;
  readonly #slots: SlotTable;
  readonly #capture: OutputCapture | undefined;

  constructor(config: StageConfig, facts: StageFacts) {
    this.#facts = facts;
    this.#slots = new SlotTable(config.parallel);
    const maxRows = config.maxRows ?? 512;
    const context = new LlamaContext(config, facts, maxRows, (library) => {
      return facts.hasHead ? undefined : new OutputCapture(library, facts.fileBlocks - 1, facts.nEmbd);
    });
    this.#context = context;
    this.#capture = context.capture;
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
  }

  openSlot(slot: number, sampling: SamplingParams): void {
    this.#slots.open(slot, sampling);
    this.#context.removePositions(slot, 0);
  }

  closeSlot(slot: number): void {
    if (this.#slots.close(slot)) this.#context.removePositions(slot, 0);
  }

  nextPosition(slot: number): number {
    return this.#slots.get(slot).history.length;
  }

  truncate(slot: number, position: number): void {
    this.#slots.truncate(slot, position);
    this.#context.removePositions(slot, position);
  }

  forward(input: StageInput, options: StageForwardOptions = {}): StageOutput {
    const { info } = this;
    checkInput(
      input,
      { ...info, wantsHidden: !info.hasEmbedding, outputRowsOnly: this.#facts.headOnly },
      (slot) => this.#slots.find(slot)?.history.length,
    );
    const layout = new RowLayout(input.runs, info.nEmbd, this.#facts.headOnly, this.#facts.endsBlocks);
    const out = info.hasHead ? null : new Float32Array(layout.outRows * info.nEmbd);
    const sampled: SampledToken[] = [];
    const startNs = process.hrtime.bigint();
    try {
      for (const group of groupRuns(input.runs)) this.#computeGroup(group, input, layout, out, sampled, options);
    } catch (error) {
      for (const run of input.runs) this.truncate(run.slot, run.position);
      throw error;
    }
    return { hidden: out, sampled, computeNs: Number(process.hrtime.bigint() - startNs) };
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
  }

  #computeGroup(
    group: readonly number[],
    input: StageInput,
    layout: RowLayout,
    out: Float32Array | null,
    sampled: SampledToken[],
    options: StageForwardOptions,
  ): void {
    const runs = group.map((index) => input.runs[index] as RowRun);
    const batchRows = this.#submit(group, runs, input, layout);
    for (const [i, index] of group.entries()) {
      const { history } = this.#slots.get((runs[i] as RowRun).slot);
      for (const token of layout.tokensOf(index, input.tokens)) history.push(token);
    }
    if (this.#capture === undefined) {
      this.#sample(group, runs, layout, batchRows, sampled, options);
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
    if (this.#capture !== undefined) this.#capture.captured = undefined;
    this.#context.decode(batch);
    return first;
  }

  /** Takes the captured rows of a group to their places in the output. */
  #collect(group: readonly number[], layout: RowLayout, out: Float32Array): void {
    const captured = this.#capture?.captured;
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

/** Where each run's rows lie in the micro-batch's tokens, incoming hidden rows and outgoing hidden rows. */
class RowLayout {
  readonly outRows: number;
  readonly #runs: readonly RowRun[];
  readonly #inRows: readonly number[];
  readonly #outRows: readonly number[];
  readonly #nEmbd: number;

  constructor(runs: readonly RowRun[], nEmbd: number, headOnly: boolean, endsBlocks: boolean) {
    this.#runs = runs;
    this.#nEmbd = nEmbd;
    this.#inRows = runs.map((run) => (headOnly ? countOutputRows(run) : run.rows));
    this.#outRows = runs.map((run) => (endsBlocks ? countOutputRows(run) : run.rows));
    this.outRows = sumBefore(this.#outRows, runs.length);
  }

  inRowsOf(run: number): number {
    return this.#inRows[run] as number;
  }

  outRowsOf(run: number): number {
    return this.#outRows[run] as number;
  }

  inOffset(run: number): number {
    return sumBefore(this.#inRows, run) * this.#nEmbd;
  }

  outOffset(run: number): number {
    return sumBefore(this.#outRows, run) * this.#nEmbd;
  }

  tokensOf(run: number, tokens: Int32Array): Int32Array {
    const start = this.#runs.slice(0, run).reduce((sum, each) => sum + each.rows, 0);
    return tokens.subarray(start, start + (this.#runs[run] as RowRun).rows);
  }
}

function sumBefore(counts: readonly number[], end: number): number {
  let sum = 0;
  for (let i = 0; i < end; i++) sum += counts[i] as number;
  return sum;
}
