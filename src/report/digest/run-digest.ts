import type { NodeRecord } from "../../observe/index.ts";
import type { TimelineStep } from "./typical-stretch.ts";

/** What a run's records come down to: a size that does not depend on how long it ran. All times in milliseconds. */
export interface RunDigest {
  /** From the first step to the last. */
  readonly durationS: number;
  readonly steps: number;
  /** The plan that most steps ran under; stages, timeline and heat map are of this one. */
  readonly epoch: number;
  readonly plans: readonly PlanDigest[];
  readonly stages: readonly StageDigest[];
  /** Decode steps of the main epoch that gave a token; null when there are none. */
  readonly decode: StepDigest | null;
  readonly timeline: readonly TimelineStep[];
  readonly heat: HeatDigest | null;
  readonly units: readonly UnitDigest[];
  readonly series: SeriesDigest | null;
  readonly requests: RequestDigest;
  /** The last word of each worker about its memory. */
  readonly nodes: readonly NodeRecord[];
  readonly events: readonly EventDigest[];
}

export interface PlanDigest {
  readonly epoch: number;
  readonly split: string;
  readonly reason: string;
  /** Since the run's first row. */
  readonly atS: number;
  readonly steps: number;
}

export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
}

export interface StageDigest {
  readonly stage: number;
  readonly nodeId: string;
  /** The worker's name; its id when no row said it. */
  readonly worker: string;
  /** `A:B`; null when no plan row was read. */
  readonly units: string | null;
  /** Decode steps of one row: what a profile's cell with one row predicts. Null when there were none. */
  readonly oneRowComputeMs: Spread | null;
  readonly computeMs: Spread;
  readonly queueMs: Spread;
  readonly hopMs: Spread;
  readonly serializeMs: Spread;
}

export interface StepDigest {
  /** From sending to receiving, coordinator's clock. */
  readonly totalMs: Spread;
  /** Context of the one-row steps in the middle. */
  readonly contextTokens: number;
  readonly oneRowSteps: number;
}

/** Mean time of each unit in decode steps, in columns along the run. */
export interface HeatDigest {
  readonly units: readonly number[];
  readonly columns: readonly { readonly firstStep: number; readonly lastStep: number; readonly samples: number }[];
  /** ms[i][j] of units[i] in columns[j]. */
  readonly ms: readonly (readonly (number | null)[])[];
}

export interface UnitDigest {
  readonly unit: number;
  /** Sampled decode steps of one row. */
  readonly ms: Spread;
}

export interface SeriesDigest {
  readonly binS: number;
  readonly points: readonly SeriesPoint[];
}

export interface SeriesPoint {
  /** Middle of the bin since the run's first row. */
  readonly atS: number;
  readonly tokensPerS: number;
  readonly ttftMs: Spread | null;
  readonly itlMs: Spread | null;
  /** Median compute time of each stage in decode steps; by stage number. */
  readonly stageComputeMs: readonly (number | null)[];
}

export interface RequestDigest {
  readonly finished: number;
  readonly failed: number;
  readonly generatedTokens: number;
  readonly ttftMs: Spread | null;
  readonly itlMs: Spread | null;
}

export interface EventDigest {
  readonly name: string;
  readonly severity: string;
  readonly count: number;
  readonly firstAtS: number;
  readonly lastMessage: string;
}
