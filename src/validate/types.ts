import type { SchedulePolicy } from "../schedule/index.ts";
import type { UnitRange } from "../model/index.ts";

/** What requests come: `streams` clients, each with one at a time. */
export interface RunLoad {
  readonly streams: number;
  readonly requests: number;
  readonly promptTokens: number;
  readonly genTokens: number;
  readonly contextTokens: number;
}

/** What every way into a worker is made to be. */
export interface LinkShape {
  readonly latencyMs: number;
  readonly jitterMs: number;
  /** Null = no limit. */
  readonly bytesPerMs: number | null;
}

/** A stage of a plan, and the worker that has it. */
export interface RunStage extends UnitRange {
  /** Index of the worker. */
  readonly worker: number;
}

export interface RunPlan {
  readonly name: string;
  readonly stages: readonly RunStage[];
}

/** What runs: the plan with the policy of its scheduler. */
export interface RunSetup {
  readonly plan: RunPlan;
  readonly policy: SchedulePolicy;
}

/** What a stage did, on the average of its steps. */
export interface StageFigures {
  /** Time of the stage itself; null without a step of the kind. */
  readonly decodeMs: number | null;
  readonly prefillMs: number | null;
  /** Share of the time from the first request to the last token. */
  readonly busyRatio: number;
}

/** What a load met, predicted or measured. */
export interface RunFigures {
  readonly tokensPerSec: number;
  /** Means over requests, and over gaps between tokens of a request. */
  readonly ttftMs: number;
  readonly itlMs: number;
  readonly stages: readonly StageFigures[];
}

/** What a step costs beside computing, as a run of the same model with one stage and with two has shown. */
export interface Overheads {
  /** From the coordinator to the first stage and from the last one back, together, in each step. */
  readonly ringMs: number;
  /** From stage to stage. */
  readonly hopMs: number;
  /** More for each byte of a hop. */
  readonly hopMsPerByte: number;
  /** From a token at the coordinator to the next step. */
  readonly turnMs: number;
  /** From a request's call to its first step. */
  readonly openMs: number;
  /** From a request's last token to the next call of the same client. */
  readonly closeMs: number;
}

/** Calls of so many rows take so many times as long in a worker as its profile says. */
export interface InPlaceRatio {
  readonly rows: number;
  readonly ratio: number;
  /** Calls that it was measured on. */
  readonly calls: number;
}

/** By rows, ascending; empty where nothing was measured. */
export interface InPlace {
  readonly decode: readonly InPlaceRatio[];
  readonly prefill: readonly InPlaceRatio[];
}

/** What sharing a machine costs: times that a call takes as long while so many others compute. */
export interface CoRun {
  /** Of this many processes at once. */
  readonly processes: number;
  readonly decode: number;
  readonly prefill: number;
}

/** What was measured apart from the runs that are judged. */
export interface Calibration {
  readonly overheads: Overheads;
  readonly inPlace: InPlace;
  readonly coRun: CoRun;
}
