import type { Phase } from "../observe/index.ts";

/** `noodle.live.v1`: how a cluster is doing right now. Times in milliseconds over the last steps of each phase. */
export interface LiveDocument {
  readonly schema: "noodle.live.v1";
  /** How far the rates look back. */
  readonly window_s: number;
  /** How many steps of each phase a stage's figures are made of, at most. */
  readonly window_steps: number;
  readonly tokens_per_s: { readonly prompt: number; readonly generated: number };
  readonly requests: {
    readonly running: number;
    readonly waiting: number;
    readonly finished: number;
    readonly failed: number;
  };
  readonly ttft_ms: Quantiles | null;
  /** Gap between two tokens of a request. */
  readonly itl_ms: Quantiles | null;
  /** From the sending of a step to its answer. */
  readonly step_ms: { readonly prefill: Quantiles | null; readonly decode: Quantiles | null };
  /** Since the last step; null before the first. */
  readonly last_step_age_ms: number | null;
  readonly stages: readonly LiveStage[];
  readonly bottleneck: LiveBottleneck | null;
}

export interface Quantiles {
  /** Samples that they are of. */
  readonly n: number;
  readonly p50: number;
  readonly p95: number;
}

export interface LiveStage {
  readonly stage: number;
  readonly node: string;
  readonly node_name: string;
  /** `A:B` */
  readonly units: string | null;
  readonly prefill: LiveStagePhase | null;
  readonly decode: LiveStagePhase | null;
  /** Part of the last seconds that the engine computed, 0-1. */
  readonly busy_ratio: number;
}

/** What one stage spent on the last steps of one phase. */
export interface LiveStagePhase {
  readonly compute_ms: Quantiles;
  readonly queue_ms: Quantiles;
  readonly serialize_ms: Quantiles;
  /** The way into the stage; null while it is unknown. */
  readonly hop_ms: Quantiles | null;
  /** Mean of compute, queue, serialise and way in, over the mean time of a step. */
  readonly share: number;
}

export interface LiveBottleneck {
  readonly phase: Phase;
  readonly kind: "compute" | "queue" | "serialize" | "hop" | "coordinator";
  /** Null for the coordinator. */
  readonly stage: number | null;
  readonly node: string | null;
  readonly ms: number;
  /** Of a step's time, 0-1. */
  readonly share: number;
  readonly words: string;
}
