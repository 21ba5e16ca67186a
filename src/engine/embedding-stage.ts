import { must } from "../common/index.ts";
import { hashCanary } from "./canary.ts";
import { loadLibrary } from "./native/index.ts";
import { RowLookup } from "./row-lookup.ts";
import type { HookKind, HookRegistry } from "../observe/index.ts";
import { callHooks, wrapRows } from "./hook-event.ts";
import { checkFill, checkInput } from "./check-input.ts";
import { describeCall } from "./runs.ts";
import { StepRecorder, toNs } from "./step-recorder.ts";
import { SlotTable } from "./slots.ts";
import type { StageFacts } from "./stage-facts.ts";
import type {
  KvLayer,
  RowRun,
  SamplingParams,
  SlotStart,
  Stage,
  StageConfig,
  StageForwardOptions,
  StageInfo,
  StageInput,
  StageOutput,
} from "./types.ts";

/** Unit 0 alone: token (and position) embedding, looked up and scaled in f32 exactly as the engine's graph does. */
export class EmbeddingStage implements Stage {
  readonly info: StageInfo;
  readonly #slots: SlotTable;
  readonly #tokens: RowLookup;
  readonly #positions: RowLookup | undefined;
  readonly #scale: number | null;
  readonly #hooks: HookRegistry | undefined;

  /** @param hooks attached to this stage; detached when it closes */
  constructor(config: StageConfig, facts: StageFacts, hooks?: HookRegistry) {
    const library = loadLibrary();
    this.#hooks = hooks;
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

  openSlot(slot: number, sampling: SamplingParams, start?: SlotStart): void {
    this.#slots.open(slot, { sampling, grammar: null, start });
  }

  closeSlot(slot: number, keep = false): void {
    this.#slots.close(slot, keep);
  }

  keptTokens(slot: number): number {
    return this.#slots.countKept(slot);
  }

  nextPosition(slot: number): number {
    return this.#slots.get(slot).history.length;
  }

  truncate(slot: number, position: number): void {
    this.#slots.truncate(slot, position);
  }

  /** There is nothing but a position: an embedding has neither keys nor values. */
  fillContext(slot: number, tokens: number): void {
    const { history } = this.#slots.get(slot);
    checkFill(tokens, this.info.contextTokens);
    history.length = 0;
    for (let i = 0; i < tokens; i++) history.push(0);
  }

  forward(input: StageInput, options: StageForwardOptions = {}): StageOutput {
    const startMs = performance.now();
    checkInput(input, { ...this.info, wantsHidden: false, outputRowsOnly: false }, this.#slots);
    const hidden = new Float32Array(input.tokens.length * this.info.nEmbd);
    const beginMs = performance.now();
    this.#callHooks("pre", input, hidden, beginMs - startMs, 0);
    this.#addTokens(input.tokens, hidden);
    const tokensMs = performance.now();
    if (this.#positions !== undefined) this.#addPositions(input.runs, this.#positions, hidden);
    const endMs = performance.now();
    this.#callHooks("post", input, hidden, beginMs - startMs, endMs - beginMs);
    let row = 0;
    for (const run of input.runs) {
      const { history } = this.#slots.get(run.slot);
      for (let i = 0; i < run.rows; i++) history.push(input.tokens[row++] as number);
    }
    const recorder =
      options.observe === undefined ? undefined : new StepRecorder(options.observe, input.tokens.length, startMs);
    recorder?.addOutside(0, "embedding.token", beginMs, tokensMs);
    if (this.#positions !== undefined) recorder?.addOutside(0, "embedding.position", tokensMs, endMs);
    const doneMs = performance.now();
    return {
      hidden,
      sampled: [],
      logprobs: [],
      computeNs: toNs(doneMs - startMs),
      observation: recorder?.finish(doneMs) ?? null,
    };
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
    this.#hooks?.detach();
  }

  /** Float32Array rounds every store, so each operation is the engine's f32 operation. */
  #addTokens(tokens: Int32Array, out: Float32Array): void {
    const { nEmbd } = this.info;
    for (let row = 0; row < tokens.length; row++)
      this.#tokens.read(tokens[row] as number, out.subarray(row * nEmbd, (row + 1) * nEmbd));
    if (this.#scale !== null) for (let i = 0; i < out.length; i++) out[i] = (out[i] as number) * this.#scale;
  }

  #addPositions(runs: readonly RowRun[], positions: RowLookup, out: Float32Array): void {
    const add = new Float32Array(this.info.nEmbd);
    let at = 0;
    for (const run of runs) {
      for (let i = 0; i < run.rows; i++) {
        positions.read(run.position + i, add);
        for (const value of add) {
          out[at] = (out[at] as number) + value;
          at += 1;
        }
      }
    }
  }

  /** There is one point here. @throws whatever a hook throws; the slots are as they were */
  #callHooks(kind: HookKind, { runs }: StageInput, hidden: Float32Array, startMs: number, durationMs: number): void {
    const hook = this.#hooks?.list().get("embed.out")?.[kind];
    if (hook === undefined) return;
    const moment = {
      kind,
      unit: 0,
      role: "embedding.token" as const,
      ...describeCall(runs),
      rows: hidden.length / this.info.nEmbd,
      startNs: toNs(startMs),
      durationNs: toNs(durationMs),
    };
    callHooks([{ point: "embed.out", hook }], moment, wrapRows("embd", hidden, this.info.nEmbd));
  }
}
