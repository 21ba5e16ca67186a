import type { LinearSolver } from "../planner/index.ts";
import type { ModelDescription } from "../model/index.ts";
import type { CostModel, ModelWork } from "../profile/index.ts";
import type { Cluster } from "./cluster-types.ts";

/** `throughput`: most tokens per second of all streams; `latency`: least time from token to token of one stream alone. */
export type PlacementObjective = "throughput" | "latency" | "pareto" | "fewest_nodes";

/** A model as far as planning needs it. No weights. */
export interface PlacementModel {
  readonly description: ModelDescription;
  readonly work: ModelWork;
  /** Null for a shape that is no file. */
  readonly headerSha256: string | null;
  readonly path: string | null;
}

/** A node with its costs, ready for planner and simulator. */
export interface PlacementNode {
  readonly name: string;
  /** `predictStage` gives the time of one engine call, the node's own overhead and scale included. */
  readonly costs: CostModel;
  /** For weights, KV and buffers; null = no limit. */
  readonly memoryBytes: number | null;
  readonly source: "measured" | "scaled" | "hardware";
  /** Where the costs come from, in words. */
  readonly words: string;
}

export interface PlanWorkload {
  /** Sequences that decode at the same time. */
  readonly streams: number;
  /** KV cells of every stream. */
  readonly contextTokens: number;
  /** Positions that a stream holds on average while it decodes. @default half of `contextTokens` */
  readonly meanContextTokens?: number;
  /** Length of the prompt whose time to first token is predicted. @default 128, at most half of the context */
  readonly promptTokens?: number;
  /** @default "recorded" */
  readonly determinism?: "recorded" | "strict";
  /** Strict only: rows of a row-class block. @default what the model's weight types are known for */
  readonly align?: number;
  /** Most rows of one engine call. @default 512 */
  readonly maxRows?: number;
  /**
   * The engine keeps only the window of sliding-window blocks. This release's engine keeps the whole context.
   *
   * @default false
   */
  readonly windowedCache?: boolean;
}

export interface PlanModelInput {
  readonly model: PlacementModel;
  readonly cluster: Cluster;
  /** Of the cluster's nodes, those that a plan may use: `resolveNodes(cluster, ...)`. */
  readonly nodes: readonly PlacementNode[];
  readonly objective: PlacementObjective;
  readonly workload: PlanWorkload;
  /** Add what the rules of other systems give. @default false */
  readonly compare?: boolean;
  /** Plan by the rule of another system instead. */
  readonly baseline?: string;
  /** Every node serves a stage, also where that is no gain; of objective `throughput`. @default false */
  readonly everyNode?: boolean;
  /** Add what one more node of each kind would bring. @default false */
  readonly growth?: boolean;
  /** @default 10 */
  readonly timeLimitS?: number;
  /** What the reader should know: profiles that do not fit, links that were guessed. */
  readonly notes?: readonly string[];
}

export interface PlanModelOptions {
  /** Monotonic milliseconds. With a clock that stands still the plan depends on the input alone. */
  readonly nowMs: () => number;
  /** `openHighs()`, for clusters of very many unlike nodes. */
  readonly solver?: LinearSolver;
}

/** `noodle.model_plan.v1`: where a model is cut, how it is served, and what that is predicted to give. */
export interface ModelPlan {
  readonly schema: "noodle.model_plan.v1";
  readonly objective: PlacementObjective;
  readonly feasible: boolean;
  readonly model: ModelPlanModel;
  readonly workload: ModelPlanWorkload;
  /** As `--split` takes it, `0:9,9:18`; null without a plan. */
  readonly split: string | null;
  /** Names of the nodes, in the order of the stages. */
  readonly order: readonly string[];
  readonly policy: ModelPlanPolicy | null;
  readonly stages: readonly ModelPlanStage[];
  /** Between neighbouring stages, in order; the last is the way back to the first. */
  readonly hops: readonly ModelPlanHop[];
  readonly predicted: ModelPlanFigures | null;
  readonly bound: ModelPlanBound | null;
  readonly algorithm: string;
  readonly solve_ms: number;
  readonly time_limit_hit: boolean;
  /** Sizes of micro-batches that were tried, the best first; of another rule's plan none. */
  readonly candidates: readonly ModelPlanCandidate[];
  /** Each node with the whole model on it: the comparison that a cluster has to win. The best first. */
  readonly alone: readonly ModelPlanAlone[];
  /** Plans nearby, the best first; of objective `pareto` the other points of the front. */
  readonly alternatives: readonly ModelPlanAlternative[];
  /** Nodes that the plan does not use, and why. */
  readonly left_out: readonly ModelPlanLeftOut[];
  /** Present when it was asked for. */
  readonly baselines?: readonly ModelPlanBaseline[];
  readonly growth?: readonly ModelPlanGrowth[];
  readonly notes: readonly string[];
  readonly infeasible_because?: { readonly words: string; readonly remedies: readonly string[] };
}

export interface ModelPlanModel {
  readonly name: string | null;
  readonly architecture: string;
  readonly header_sha256: string | null;
  readonly path: string | null;
  readonly units: number;
  readonly embedding_length: number;
}

export interface ModelPlanWorkload {
  readonly streams: number;
  readonly context_tokens: number;
  readonly mean_context_tokens: number;
  readonly prompt_tokens: number;
  readonly determinism: "recorded" | "strict";
}

/** What the scheduler needs; the names are those of its policy. */
export interface ModelPlanPolicy {
  readonly stages: number;
  readonly decode_in_flight: number;
  readonly max_decode_rows: number;
  readonly prefill_rows: number;
  readonly mixed_prefill_rows: number;
  readonly slots: number;
  readonly align: number;
}

export interface ModelPlanStage {
  readonly node: string;
  /** Half-open range of units, and the same as `A:B`. */
  readonly first: number;
  readonly end: number;
  readonly units: string;
  /** One micro-batch of decode rows; one chunk of `prefill_rows` of an empty cache. */
  readonly decode_ms: number;
  readonly prefill_ms: number;
  /** Share of the time in which it computes while all streams decode. */
  readonly busy_ratio: number;
  readonly weights_bytes: number;
  readonly kv_bytes: number;
  /** Buffers and processes beside weights and KV. */
  readonly reserve_bytes: number;
  /** Of the node; null = no limit known. */
  readonly memory_bytes: number | null;
  /** Why the stage ends where it ends. */
  readonly why: string;
}

export interface ModelPlanHop {
  readonly from: string;
  readonly to: string;
  readonly bytes: number;
  readonly latency_ms: number;
  readonly transfer_ms: number;
}

export interface ModelPlanFigures {
  /** All streams together. */
  readonly tokens_per_s: number;
  /** From token to token of one stream among all. */
  readonly itl_ms: number;
  /** Of one stream alone. */
  readonly single_itl_ms: number;
  /** Of a prompt of `prompt_tokens` in an idle cluster. */
  readonly ttft_ms: number;
  readonly prefill_tokens_per_s: number;
  /** One micro-batch through all stages and back (T1). */
  readonly round_ms: number;
  /** Between two micro-batches when the pipeline is kept full (B). */
  readonly period_ms: number;
  readonly bottleneck: {
    /** `round`: too few micro-batches are in flight for any stage to be busy all the time. */
    readonly kind: "stage" | "hop" | "round";
    readonly stage: number | null;
    readonly ms: number;
    readonly words: string;
  };
  /** Some of it lies outside what was measured. */
  readonly extrapolated: boolean;
}

export interface ModelPlanBound {
  /** What the objective counts. */
  readonly unit: "tokens_per_s" | "ms" | "nodes";
  readonly found: number;
  /** No plan of the sizes of micro-batches that were looked at is better. */
  readonly best_possible: number;
  /** Relative distance of the two; null without a bound above 0. */
  readonly gap: number | null;
  readonly proven: boolean;
}

export interface ModelPlanCandidate {
  readonly rows: number;
  readonly in_flight: number;
  readonly tokens_per_s: number | null;
  readonly best_possible_tokens_per_s: number;
  /** False where its bound alone ruled it out. */
  readonly solved: boolean;
}

export interface ModelPlanAlone {
  readonly node: string;
  readonly fits: boolean;
  /** Bytes that it lacks; 0 where it fits. */
  readonly short_bytes: number;
  readonly tokens_per_s: number | null;
  readonly itl_ms: number | null;
}

export interface ModelPlanAlternative {
  readonly what: string;
  readonly split: string;
  readonly order: readonly string[];
  readonly tokens_per_s: number;
  readonly itl_ms: number;
  /** One stream alone. */
  readonly single_itl_ms: number;
}

export interface ModelPlanLeftOut {
  readonly node: string;
  readonly words: string;
}

export interface ModelPlanBaseline {
  readonly name: string;
  readonly rule: string;
  readonly feasible: boolean;
  readonly split: string | null;
  readonly order: readonly string[];
  readonly tokens_per_s: number | null;
  readonly itl_ms: number | null;
  /** Why it gives no plan, or none that can be run. */
  readonly reason: string | null;
  /** Our value / its value in the direction of better: 1.2 = ours is 20% better; null where there is none. */
  readonly ours_better_by: number | null;
}

export interface ModelPlanGrowth {
  readonly like: string;
  readonly tokens_per_s: number;
  readonly itl_ms: number;
  readonly nodes: number;
  /** New value / old value in the direction of better. */
  readonly better_by: number;
}
