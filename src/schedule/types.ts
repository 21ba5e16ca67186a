import type { Passed } from "./ageing.ts";

/**
 * What the scheduling policy sees and says. The serving coordinator and the simulator run the same policy on these
 * types; nothing here knows a clock, a network or an engine.
 */

/** How a request's bits may depend on what runs beside it. */
export type Determinism = "recorded" | "strict";

/** Fixed for as long as a plan is in force. */
export interface SchedulePolicy {
  /** Stages of the pipeline. */
  readonly stages: number;
  /** Micro-batches of decode rows that are in flight at once; more than the stages hides the way back. */
  readonly decodeInFlight: number;
  /** Most rows of one micro-batch of decode rows. */
  readonly maxDecodeRows: number;
  /** Rows of a prompt's chunk while nobody decodes. */
  readonly prefillRows: number;
  /** Rows of a chunk while others decode: bounds what a prompt adds to their inter-token latency. */
  readonly mixedPrefillRows: number;
  /** KV sequences: slots are 0 .. slots-1. */
  readonly slots: number;
  readonly determinism: Determinism;
  /**
   * Strict only. Decode rows are computed in whole blocks of this many neighbouring slots (slots 0..align-1, ...), idle
   * slots padded; 1 where a row's bits do not depend on how many are computed. Prefill chunks then begin at multiples of
   * `prefillRows`, whatever runs beside.
   */
  readonly align: number;
  /**
   * Strict only. A lone decode row whose sequence fills this many cells or more, its own included, is padded to two
   * (attention splits a lone row); null = never.
   */
  readonly pairFromCells: number | null;
  /** Most pads that bridge a hole between two decode rows, which then need one call instead of two. @default 1 */
  readonly maxHole?: number;
  /**
   * While prompts are read beside, decode rows gather in micro-batches of at least this many, in fewer of them if need
   * be: the chunks keep the stages busy, and a call of few rows costs nearly as much as one of these. @default 1
   */
  readonly leastDecodeRows?: number;
}

/** A session as the policy sees it. */
export interface WaitingSession {
  readonly id: string;
  readonly slot: number;
  /** Whose it is (API key or connection): turns are taken between clients before they are taken between sessions. */
  readonly client: string;
  /** Larger goes first. @default 0 */
  readonly priority: number;
  /** Absolute position of the first row that has not been sent. */
  readonly position: number;
  /** Rows whose tokens are known and not sent: what is left of the prompt, or the last sampled token. 0 = it waits. */
  readonly waitingRows: number;
  /** Rows of its prompt: behind them it decodes. */
  readonly promptRows: number;
  /** Logits of every prompt row are wanted, not of the last only. */
  readonly allOutputs: boolean;
  /** Most rows of one of its steps; null = the policy's. */
  readonly maxRows: number | null;
  /** Since when it could be served: any monotonic count of the caller's. */
  readonly readySince: number;
  /** Its next step as an earlier run computed it; then nothing else is chosen for it, one step at a time. */
  readonly arranged?: ArrangedStep | null;
}

/** A step whose rows have to be computed in a certain class. */
export interface ArrangedStep {
  readonly rows: number;
  /** Slots that take a dummy row beside a step of one row. */
  readonly pads: readonly number[];
}

/** A micro-batch that has been sent and not answered. */
export interface InFlightBatch {
  readonly phase: "prefill" | "decode";
  readonly rows: number;
  /** Of its runs. */
  readonly slots: readonly number[];
}

export interface ScheduleState {
  /** Those with `waitingRows`, at least; the others need not be named, so that what waits costs nothing. */
  readonly sessions: readonly WaitingSession[];
  readonly inFlight: readonly InFlightBatch[];
  /** Micro-batches that the first stage still takes. */
  readonly credits: number;
  /** What the policy returned as `turn` last time; null at first. */
  readonly turn: ScheduleTurn | null;
}

/** What the policy remembers from call to call; plain data. */
export interface ScheduleTurn {
  readonly lastClient: string | null;
  /** Whose prompt had the last chunk. */
  readonly lastPromptClient: string | null;
  /** Decode micro-batches since the last prefill chunk. */
  readonly decodesSincePrefill: number;
  /** Priorities that wait and were passed over. @default none */
  readonly passedPrompts?: readonly Passed[];
  readonly passedDecodes?: readonly Passed[];
}

export interface ScheduledRun {
  readonly sessionId: string;
  readonly position: number;
  readonly rows: number;
  /** `last` where the run ends with the last known token: its logits choose the next one. */
  readonly output: "none" | "last" | "all";
}

/** One micro-batch: rows of one prompt, or one row of each of several sessions. Never both. */
export interface ScheduledBatch {
  readonly phase: "prefill" | "decode";
  /** In ascending order of slots. */
  readonly runs: readonly ScheduledRun[];
  /** Slots that take a dummy row each, so that the rows are computed in one call, or in their class. */
  readonly pads: readonly number[];
}

export interface Schedule {
  /** To be sent now, in order. */
  readonly batches: readonly ScheduledBatch[];
  readonly turn: ScheduleTurn;
}

/** How rows were computed: `rows` positions from `position` on, in a call of `callRows` rows, the first at `place`. */
export interface ComputedRun {
  readonly position: number;
  readonly rows: number;
  readonly callRows: number;
  readonly place: number;
  /** Positions of each call, where the entry stands for several calls alike, one behind another. @default rows */
  readonly perCall?: number;
}

/** All that must be known to compute a sequence again bit for bit: one entry for each run, in order of position. */
export type ClassNotes = readonly ComputedRun[];
