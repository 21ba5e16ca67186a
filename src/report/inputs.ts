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

/** `plan.json`. */
export interface PlanFacts {
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
  readonly stages: readonly SummaryStage[];
}

export interface SummaryStage {
  readonly node: string;
  readonly units: string | null;
  readonly computeMsP50: number;
  readonly queueMsP50: number | null;
  readonly hopMsP50: number | null;
}
