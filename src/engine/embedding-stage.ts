import { must } from "../common/index.ts";
import { hashCanary } from "./canary.ts";
import { loadLibrary } from "./native/index.ts";
import { RowLookup } from "./row-lookup.ts";
import { checkInput } from "./runs.ts";
import { SlotTable } from "./slots.ts";
import type { StageFacts } from "./stage-facts.ts";
import type { KvLayer, SamplingParams, Stage, StageConfig, StageInfo, StageInput, StageOutput } from "./types.ts";

/** Unit 0 alone: token (and position) embedding, looked up and scaled in f32 exactly as the engine's graph does. */
export class EmbeddingStage implements Stage {
  readonly info: StageInfo;
  readonly #slots: SlotTable;
  readonly #tokens: RowLookup;
  readonly #positions: RowLookup | undefined;
  readonly #scale: number | null;

  constructor(config: StageConfig, facts: StageFacts) {
    const library = loadLibrary();
    this.#slots = new SlotTable(config.parallel);
    const tensors = facts.embeddingTensors;
    this.#tokens = new RowLookup(
      config.stageFile,
      must(
        tensors.find((each) => each.name === "token_embd.weight"),
        "token_embd.weight",
      ),
    );
    const positions = tensors.find((each) => each.name === "position_embd.weight");
    this.#positions = positions === undefined ? undefined : new RowLookup(config.stageFile, positions);
    this.#scale = facts.embeddingScale === null ? null : Math.fround(facts.embeddingScale);
    this.info = {
      units: facts.units,
      unitCount: facts.unitCount,
      architecture: facts.architecture,
      nEmbd: facts.nEmbd,
      nVocab: 0,
      hasEmbedding: true,
      hasHead: false,
      endsBlocks: facts.endsBlocks,
      weightsBytes: tensors.reduce((sum, each) => sum + each.bytes, 0),
      kvBytes: 0,
      computeBufferBytes: 0,
      threads: config.threads,
      contextTokens: config.contextTokens,
      parallel: config.parallel,
      maxRows: config.maxRows ?? 512,
      engine: { build: library.build, variant: library.variant },
    };
  }

  openSlot(slot: number, sampling: SamplingParams): void {
    this.#slots.open(slot, sampling);
  }

  closeSlot(slot: number): void {
    this.#slots.close(slot);
  }

  nextPosition(slot: number): number {
    return this.#slots.get(slot).history.length;
  }

  truncate(slot: number, position: number): void {
    this.#slots.truncate(slot, position);
  }

  forward(input: StageInput): StageOutput {
    const { nEmbd } = this.info;
    const startNs = process.hrtime.bigint();
    checkInput(
      input,
      { ...this.info, wantsHidden: false, outputRowsOnly: false },
      (slot) => this.#slots.find(slot)?.history.length,
    );
    const hidden = new Float32Array(input.tokens.length * nEmbd);
    let row = 0;
    for (const run of input.runs) {
      for (let i = 0; i < run.rows; i++, row++)
        this.#embed(input.tokens[row] as number, run.position + i, hidden.subarray(row * nEmbd, (row + 1) * nEmbd));
    }
    row = 0;
    for (const run of input.runs) {
      const { history } = this.#slots.get(run.slot);
      for (let i = 0; i < run.rows; i++) history.push(input.tokens[row++] as number);
    }
    return { hidden, sampled: [], computeNs: Number(process.hrtime.bigint() - startNs) };
  }

  readKv(slot: number): readonly KvLayer[] {
    this.#slots.get(slot);
    return [];
  }

  canary(): string {
    return hashCanary(this);
  }

  close(): void {
    this.#tokens.close();
    this.#positions?.close();
  }

  /** Float32Array rounds every store, so each operation is the engine's f32 operation. */
  #embed(token: number, position: number, out: Float32Array): void {
    this.#tokens.read(token, out);
    if (this.#scale !== null) for (let i = 0; i < out.length; i++) out[i] = (out[i] as number) * this.#scale;
    if (this.#positions === undefined) return;
    const add = new Float32Array(out.length);
    this.#positions.read(position, add);
    for (let i = 0; i < out.length; i++) out[i] = (out[i] as number) + (add[i] as number);
  }
}
