import type { HookLevel, HookRegistry, StepObservation } from "../observe/index.ts";

/**
 * What a stage engine is, apart from how it computes. The cluster's code takes these interfaces only; `LlamaStage`
 * (libllama) and `FakeStage` (deterministic arithmetic, no library) implement them.
 */

/** How the last stage chooses a token. Greedy when `temperature` is 0. */
export interface SamplingParams {
  /** 0 = greedy. @default 0 */
  readonly temperature: number;
  /** 0 = off. @default 40 when sampling */
  readonly topK: number;
  /** 1 = off. */
  readonly topP: number;
  /** 0 = off. */
  readonly minP: number;
  /** 1 = off. Looks back over the last 64 tokens, prompt included. */
  readonly repeatPenalty: number;
  /** The choice at a position is a pure function of (seed, position, history). */
  readonly seed: number;
  /** 1 = off. @default 1 */
  readonly typicalP?: number;
  /** Taken from the logit of every token of the last `penaltyLastTokens`, once. @default 0 */
  readonly presencePenalty?: number;
  /** Taken from it once for each time it occurred there. @default 0 */
  readonly frequencyPenalty?: number;
  /** Tokens that the penalties look back over, prompt included. @default 64 */
  readonly penaltyLastTokens?: number;
  /** Added to logits before anything else: (token id, bias); -Infinity bans the token. @default none */
  readonly logitBias?: readonly (readonly [number, number])[];
  /** GBNF with the root rule `root`, for what comes behind the prompt. @default none */
  readonly grammar?: string;
}

export const GREEDY: SamplingParams = { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 0 };

/** Which rows of a run are outputs: rows whose logits are wanted. */
export type RunOutput = "none" | "last" | "all";

/** Consecutive rows of one sequence inside a micro-batch. */
export interface RowRun {
  /** KV sequence, 0 .. parallel-1; the same slot on every stage. */
  readonly slot: number;
  /** Absolute position of the run's first row. Must equal the stage's `nextPosition(slot)`. */
  readonly position: number;
  readonly rows: number;
  readonly output: RunOutput;
  /**
   * Log-probabilities of each output row's next token and of this many alternatives; 0 = of the next token alone.
   * @default null = none
   */
  readonly topLogprobs?: number | null;
  /**
   * The token that follows the run's last row where it is known: the prompt goes on in the next step. Then no token is
   * sampled. @default null
   */
  readonly following?: number | null;
}

export interface StageInput {
  readonly runs: readonly RowRun[];
  /** i32[rows], the token ids of all runs, in order. Every stage gets them (the last one keeps the penalty history). */
  readonly tokens: Int32Array;
  /**
   * f32[hiddenRows, nEmbd], row-major, or null for the stage that holds unit 0. `hiddenRows` is the number of rows,
   * except behind the last block, where only output rows travel (possibly none). Borrowed until `forward` returns.
   */
  readonly hidden: Float32Array | null;
  /**
   * Slots that take one dummy row each in the calls of runs of one row, so that a row is computed among as many rows as
   * its class wants. They hold afterwards what they held before. Not in `tokens`, `hidden` or the output; each stage
   * makes its own. A slot of `runs` can't be one, and a slot whose context is full can't either.
   */
  readonly pads?: readonly number[];
}

/** The log-probability of the token behind one row, natural logarithm, of the model's own distribution. */
export interface RowLogprobs {
  /** Index into `StageInput.runs`. */
  readonly run: number;
  /** Row within the run. */
  readonly row: number;
  /** The run's next token, `following`, or the sampled one. */
  readonly tokenId: number;
  readonly logprob: number;
  /** Best first; as many as were asked for. */
  readonly top: readonly { readonly tokenId: number; readonly logprob: number }[];
}

export interface SampledToken {
  /** Index into `StageInput.runs`. */
  readonly run: number;
  readonly tokenId: number;
  /** f32[nVocab] of the run's last row, a copy; only when `StageForwardOptions.wantLogits`. */
  readonly logits: Float32Array | null;
}

export interface StageOutput {
  /** f32[hiddenRows, nEmbd], a copy owned by the caller; null for the stage that holds the head. */
  readonly hidden: Float32Array | null;
  /** One entry for each run with an output row and no `following`; empty for stages without the head. */
  readonly sampled: readonly SampledToken[];
  /** Of the output rows of runs with `topLogprobs`, in order; empty for stages without the head. */
  readonly logprobs: readonly RowLogprobs[];
  /** Time inside the engine for this call. */
  readonly computeNs: number;
  /** What the call looked like from inside; null unless `StageForwardOptions.observe` asked for it. */
  readonly observation: StepObservation | null;
}

export interface StageForwardOptions {
  readonly wantLogits?: boolean;
  /**
   * Times the step by unit, role or graph node. Each segment costs one synchronisation; results do not change.
   *
   * @throws USAGE when the stage holds the head and was opened without `StageConfig.hookable` or hooks
   */
  readonly observe?: HookLevel;
}

/** Half-open range of units. */
export interface UnitRange {
  readonly first: number;
  readonly end: number;
}

export interface StageConfig {
  /** A stage GGUF as `noodle cut` writes it, or the whole model when `units` covers all of it. */
  readonly stageFile: string;
  /** Tokens of context for each sequence. */
  readonly contextTokens: number;
  /** Number of sequences (KV slots). */
  readonly parallel: number;
  readonly threads: number;
  /** Largest number of rows in one `forward`. @default 512 */
  readonly maxRows?: number;
  /**
   * Lets `StageForwardOptions.observe` look inside: the engine then calls back for every graph node. Hooks turn it on by
   * themselves, and a stage without head calls back anyway. @default false
   */
  readonly hookable?: boolean;
}

/** What a stage is opened with, beside its configuration. */
export interface OpenStageOptions {
  /** Called while the stage computes; a registry serves one stage at a time. */
  readonly hooks?: HookRegistry;
}

/** One layer's KV bytes of one sequence, in the order of the cut. */
export interface KvLayer {
  /** Block index in the undivided model, 0-based (unit - 1). */
  readonly block: number;
  readonly kBytes: Uint8Array;
  readonly vBytes: Uint8Array;
}

export interface StageInfo {
  readonly units: UnitRange;
  /** Number of units of the undivided model. */
  readonly unitCount: number;
  readonly architecture: string;
  readonly nEmbd: number;
  /** 0 for a stage without vocabulary. */
  readonly nVocab: number;
  readonly hasEmbedding: boolean;
  readonly hasHead: boolean;
  /** True when the stage's last block is the model's last: then only output rows leave it. */
  readonly endsBlocks: boolean;
  readonly weightsBytes: number;
  readonly kvBytes: number;
  readonly computeBufferBytes: number;
  readonly threads: number;
  readonly contextTokens: number;
  readonly parallel: number;
  readonly maxRows: number;
  readonly engine: EngineIdentity;
}

export interface EngineIdentity {
  /** Version string of libllama plus the engine package's version. */
  readonly build: string;
  /** CPU variant that was loaded, for example `zen4`. */
  readonly variant: string;
}

/** What a slot starts with instead of nothing. */
export interface SlotStart {
  /** Positions that it keeps of what it held when it was closed with `keep`, or takes over from `copyFrom`. @default 0 */
  readonly keepTokens?: number;
  /** Slot, open or kept, whose first `keepTokens` positions are copied: keys, values and token history. */
  readonly copyFrom?: number;
  /** Where the prompt ends and the grammar begins. @default 0 */
  readonly promptTokens?: number;
}

/** Synchronous: call it on a thread whose blocking harms nobody. All methods throw NoodleError. */
export interface Stage {
  readonly info: StageInfo;
  /**
   * Makes `slot` a sequence with this sampler: empty, or as `start` says.
   *
   * @throws SESSION_LIMIT when the slot does not exist, PREFIX_GONE when what it shall start with is not there,
   * GRAMMAR_INVALID
   */
  openSlot(slot: number, sampling: SamplingParams, start?: SlotStart): void;
  /**
   * Ends the sequence. Its KV cells are freed unless `keep`: then a later `openSlot` may start with them, until it, or
   * another, takes the slot. Closing a closed slot frees what it kept.
   */
  closeSlot(slot: number, keep?: boolean): void;
  /** Positions that a closed slot still holds; 0 for an open one. */
  keptTokens(slot: number): number;
  /** Position that the next run of this slot must start at. */
  nextPosition(slot: number): number;
  /** Drops positions >= `position`, sampler history included. */
  truncate(slot: number, position: number): void;
  /**
   * Makes the open `slot` hold `tokens` positions of fabricated keys and values, whatever it held: for measuring only,
   * since what is computed behind them means nothing.
   *
   * @throws CONTEXT_EXCEEDED when they do not fit, SESSION_NOT_FOUND
   */
  fillContext(slot: number, tokens: number): void;
  /**
   * @throws CONTEXT_EXCEEDED, STEP_OUT_OF_ORDER before anything changed; NON_FINITE when the output holds NaN or Inf
   * (the slots are truncated to where they were); ENGINE_FAILED likewise.
   */
  forward(input: StageInput, options?: StageForwardOptions): StageOutput;
  /** KV bytes of positions 0 .. nextPosition-1, each layer of this stage. */
  readKv(slot: number): readonly KvLayer[];
  /** SHA-256 (hex) of the output for a fixed input: equal for equal units, build, variant and threads. */
  canary(): string;
  close(): void;
}
