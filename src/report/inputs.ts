import type { ProfileDocument } from "../profile/index.ts";
import type { ReportSource } from "./document.ts";
import type { RunDigest } from "./digest/run-digest.ts";

/** All that a report is made of; whatever is not there is left out of it and named as missing. */
export interface ReportInputs {
  readonly noodlecoreVersion: string;
  /** What the page is called when no model name is known. */
  readonly name: string;
  /** The first is looked at; the second is what it is compared with. */
  readonly profiles: readonly NamedProfile[];
  readonly run: RunInputs | null;
  readonly sources: readonly ReportSource[];
}

export interface NamedProfile {
  /** What tells it from the other one. */
  readonly name: string;
  readonly document: ProfileDocument;
}

export interface RunInputs {
  readonly plan: PlanFacts | null;
  readonly summary: RunSummary | null;
  /** Of logs or a trace; null when there were none. */
  readonly digest: RunDigest | null;
}

/** A stage as `noodle plan` has it. */
export interface PlannedStage {
  readonly node: string;
  readonly units: string;
  readonly decodeMs: number;
  readonly prefillMs: number;
  readonly busyRatio: number;
  readonly why: string;
}

export interface PlannedOther {
  readonly name: string;
  readonly stages: string;
  readonly tokensPerS: number;
  readonly itlMs: number | null;
}

/** What a plan by profiles foretells; null of a split that nobody planned. */
export interface PlanForecast {
  readonly stages: readonly PlannedStage[];
  readonly tokensPerS: number;
  readonly itlMs: number;
  readonly streams: number;
  readonly bound: { readonly gap: number | null; readonly proven: boolean } | null;
  readonly binds: string;
  /** Plans nearby, and each node alone. */
  readonly others: readonly PlannedOther[];
  readonly notes: readonly string[];
}

/** A figure that was foretold beside what was measured. */
export interface ComparedFigure {
  readonly name: string;
  readonly unit: string;
  readonly predicted: number;
  readonly measured: number;
}

/** `plan.json`. */
export interface PlanFacts {
  readonly forecast: PlanForecast | null;
  readonly model: string | null;
  readonly split: string;
  readonly threads: number | null;
  readonly stages: readonly { readonly units: string; readonly bytes: number | null }[];
}

/** What `summary.json` says of the run. */
export interface RunSummary {
  readonly verdict: readonly string[];
  readonly decodeTokensPerS: number | null;
  readonly undividedTokensPerS: number | null;
  readonly ttftMs: number | null;
  /** What the simulation foretold, and what came. */
  readonly figures: readonly ComparedFigure[];
  readonly stages: readonly SummaryStage[];
  /** A stream that outlived one of its workers; null where none was killed. */
  readonly death: SurvivedDeath | null;
}

/** Moments in ms since the request; null where there was nothing to measure. */
export interface SurvivedDeath {
  readonly worker: string;
  readonly units: string;
  /** Stages before and behind it, `A:B on NAME`. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly cause: string | null;
  readonly killedBehind: number;
  readonly killedMs: number;
  readonly resumedMs: number | null;
  readonly detectMs: number | null;
  readonly replanMs: number | null;
  readonly refillMs: number | null;
  readonly nextTokenMs: number | null;
  readonly backMs: number | null;
  readonly tokensRefilled: number | null;
  readonly equalTokens: number;
  readonly identicalLogits: boolean;
  readonly identicalKv: boolean;
  readonly tokensMs: readonly number[];
  readonly undisturbedMs: readonly number[];
}

export interface SummaryStage {
  readonly node: string;
  readonly units: string | null;
  readonly computeMsP50: number;
  readonly queueMsP50: number | null;
  readonly hopMsP50: number | null;
}
