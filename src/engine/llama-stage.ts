import { must, NoodleError } from "../common/index.ts";
import type { HookRegistry } from "../observe/index.ts";
import { groupRuns } from "../schedule/index.ts";
import { type CallMember, listMembers } from "./call-members.ts";
import { hashCanary } from "./canary.ts";
import { checkFill, checkInput } from "./check-input.ts";
import { decodeFiller, fillPositions } from "./context-filler.ts";
import { EngineCalls } from "./engine-calls.ts";
import { EvalObserver } from "./eval-observer.ts";
import { HeadReader } from "./head-reader.ts";
import { copyPositions } from "./kv-copy.ts";
import { parseSequenceState } from "./kv-state.ts";
import { LlamaContext } from "./llama-context.ts";
import { readVocabulary } from "./model-vocabulary.ts";
import { RowLayout } from "./row-layout.ts";
import { countOutputRows } from "./runs.ts";
import { describeStage } from "./stage-info.ts";
import { Sampler } from "./sampler.ts";
import { SlotTable } from "./slots.ts";
import type { StageFacts } from "./stage-facts.ts";
import { type StepRecorder, toNs } from "./step-recorder.ts";
import type {
  KvLayer,
  SamplingParams,
  SlotStart,
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
  readonly #calls: EngineCalls;
  /** Undefined for a stage without head. */
  readonly #sampler: Sampler | undefined;
  readonly #slots: SlotTable;
  readonly #observer: EvalObserver | undefined;
  readonly #isObservable: boolean;
  readonly #hooks: HookRegistry | undefined;

  /** @param hooks attached to this stage; detached when it closes */
  constructor(config: StageConfig, facts: StageFacts, hooks?: HookRegistry) {
    this.#facts = facts;
    this.#slots = new SlotTable(config.parallel);
    const isHookable = config.hookable === true || hooks !== undefined;
    this.#isObservable = isHookable || !facts.hasHead;
    this.#hooks = hooks;
    const context = new LlamaContext(config, facts, (library) => {
      return this.#isObservable ? new EvalObserver(library, facts, hooks) : undefined;
    });
    this.#context = context;
    this.#observer = context.observer;
    this.#calls = new EngineCalls(context, facts);
    this.#sampler = facts.hasHead
      ? new Sampler(context.library, context.nVocab, () => readVocabulary(context.library, context.vocab))
      : undefined;
    this.info = describeStage(config, facts, context);
    if (isHookable) this.#rehearse();
  }

  openSlot(slot: number, sampling: SamplingParams, start?: SlotStart): void {
    this.#context.checkIdle();
    const { tokens, source } = this.#slots.findBeginning(slot, start);
    if (tokens > 0 && !this.#context.canRewind)
      throw new NoodleError("PREFIX_GONE", "a recurrent model keeps no positions that a sequence could begin with");
    const grammar = this.#sampler?.prepare(sampling) ?? null;
    if (!this.#facts.headOnly) this.#takeOver(slot, tokens, source);
    this.#slots.open(slot, { sampling, grammar, start });
  }

  closeSlot(slot: number, keep = false): void {
    this.#context.checkIdle();
    if (this.#slots.close(slot, keep && this.#context.canRewind)) this.#drop(slot, 0);
  }

  keptTokens(slot: number): number {
    return this.#slots.countKept(slot);
  }

  nextPosition(slot: number): number {
    return this.#slots.get(slot).history.length;
  }

  truncate(slot: number, position: number): void {
    this.#context.checkIdle();
    this.#slots.truncate(slot, position);
    this.#drop(slot, position);
  }

  fillContext(slot: number, tokens: number): void {
    this.#context.checkIdle();
    const { history } = this.#slots.get(slot);
    checkFill(tokens, this.info.contextTokens);
    this.truncate(slot, 0);
    for (let i = 0; i < tokens; i++) history.push(0);
    // The head keeps no keys and values.
    if (tokens > 0 && !this.#facts.headOnly) fillPositions(this.#context, this.#facts, slot, tokens, this.info.maxRows);
  }

  forward(input: StageInput, options: StageForwardOptions = {}): StageOutput {
    this.#context.checkIdle();
    const { info } = this;
    checkInput(input, { ...info, wantsHidden: !info.hasEmbedding, outputRowsOnly: this.#facts.headOnly }, this.#slots);
    if ((input.pads?.length ?? 0) > 0 && !this.#context.canRewind)
      throw new NoodleError("FRAME_INVALID", "a recurrent model can not take dummy rows: they could not be undone");
    if (options.observe !== undefined && !this.#isObservable) {
      throw new NoodleError(
        "USAGE",
        "this stage holds the head and was opened without `hookable` or hooks: it can not be observed",
      );
    }
    const layout = new RowLayout(input.runs, info.nEmbd, this.#facts.headOnly, this.#facts.endsBlocks);
    const out = info.hasHead ? null : new Float32Array(layout.outRows * info.nEmbd);
    const head =
      this.#sampler === undefined
        ? undefined
        : new HeadReader(this.#context, this.#sampler, options.wantLogits === true);
    const startMs = performance.now();
    const recorder = this.#observer?.beginStep(options.observe ?? null, input.tokens.length, startMs);
    try {
      for (const group of groupRuns(input.runs, input.pads)) {
        const members = listMembers(group, input.runs, (slot) => this.#slots.held(slot));
        const firstRows = this.#calls.submit(members, input, layout);
        this.#remember(group.runs, input, layout);
        if (out !== null) this.#calls.collect(members, layout, out);
        if (head !== undefined) this.#readHead(head, members, firstRows, input, layout, recorder);
      }
    } catch (error) {
      for (const run of input.runs) this.truncate(run.slot, run.position);
      throw error;
    }
    const endMs = performance.now();
    return {
      hidden: out,
      sampled: head?.sampled ?? [],
      logprobs: head?.logprobs.sort((a, b) => a.run - b.run || a.row - b.row) ?? [],
      computeNs: toNs(endMs - startMs),
      observation: recorder?.finish(endMs) ?? null,
    };
  }

  readKv(slot: number): readonly KvLayer[] {
    this.#slots.get(slot);
    const { blocks, cacheLayers } = this.#facts;
    if (blocks.length === 0) return [];
    this.#settleCopies();
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
    decodeFiller(this.#context, this.#facts, 0, 0, 1);
    this.#context.clear();
  }

  /** Gives the slot the keys and values that it starts with. */
  #takeOver(slot: number, tokens: number, source: number | undefined): void {
    if (source === undefined || source === slot) {
      this.#context.removePositions(slot, tokens);
      return;
    }
    const positions = this.#slots.held(source);
    copyPositions(this.#context, this.#facts, { slot: source, positions }, slot, tokens);
  }

  /** Drops positions >= `position`; the head alone has none. */
  #drop(slot: number, position: number): void {
    if (!this.#facts.headOnly) this.#context.removePositions(slot, position);
  }

  /** What the library copies at its next decode is copied now: a row is computed behind it, and dropped. */
  #settleCopies(): void {
    if (!this.#context.hasPendingCopy) return;
    const slots = Array.from({ length: this.info.parallel }, (_, slot) => slot);
    const free = slots.find((slot) => this.#slots.held(slot) < this.info.contextTokens);
    if (free === undefined)
      throw new NoodleError("ENGINE_KV_FULL", "no slot has room for the row that a copy of keys and values waits for");
    const position = this.#slots.held(free);
    decodeFiller(this.#context, this.#facts, free, position, 1);
    this.#context.removePositions(free, position);
  }

  /** The runs' tokens are part of their sequences from here on. */
  #remember(runs: readonly number[], input: StageInput, layout: RowLayout): void {
    for (const index of runs) {
      const { history } = this.#slots.get(must(input.runs[index], "run").slot);
      for (const token of layout.tokensOf(index, input.tokens)) history.push(token);
    }
  }

  #readHead(
    head: HeadReader,
    members: readonly CallMember[],
    firstRows: readonly number[],
    input: StageInput,
    layout: RowLayout,
    recorder: StepRecorder | undefined,
  ): void {
    const startMs = performance.now();
    const before = head.sampled.length;
    for (const [i, { run: index }] of members.entries()) {
      if (index === null) continue;
      const run = must(input.runs[index], "run");
      const outputRows = countOutputRows(run);
      if (outputRows === 0) continue;
      head.read({
        index,
        run,
        tokens: layout.tokensOf(index, input.tokens),
        firstOutputRow: (firstRows[i] as number) + layout.inRowsOf(index) - outputRows,
        outputRows,
        slot: this.#slots.get(run.slot),
      });
    }
    if (head.sampled.length > before)
      recorder?.addOutside(this.info.unitCount - 1, "sampling", startMs, performance.now());
  }
}
