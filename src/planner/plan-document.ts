import type { Objective } from "./document.ts";
import type { Bottleneck, StageRange } from "./evaluate.ts";

/** A stage of an answer. */
export interface PlanStage extends StageRange {
  /** Time between two steps of the stage, its nodes sharing them. */
  readonly ms: number;
  /** Bytes that each of its nodes holds. */
  readonly bytes: number;
}

/** A plan with its figures, all as `evaluatePlan` counts them. */
export interface PlanFigures {
  readonly stages: readonly PlanStage[];
  readonly period_ms: number;
  readonly latency_ms: number;
  readonly nodes: number;
}

export interface PlanAlternative extends PlanFigures {
  /** What is different: `one node alone`, `without node b`, `another trade-off`. */
  readonly what: string;
  /** Of a trade-off: nothing is better in one figure and as good in the other. */
  readonly proven?: boolean;
}

/** A change of the problem that makes a plan possible. */
export interface Remedy {
  /** Field of the problem that would have to change. */
  readonly field: "memory_bytes" | "cache_tokens" | "max_units" | "max_period_ms" | "nodes";
  /** Node that it concerns; null for the whole problem. */
  readonly node: string | null;
  readonly from: number;
  readonly to: number;
  readonly words: string;
}

export interface Infeasibility {
  /** What is short first; `rule`: of a baseline, whose rule gives no plan; `time`: nothing is known. */
  readonly resource: "memory" | "max_units" | "table" | "period" | "rule" | "time";
  /** In the resource's own unit: bytes, units, milliseconds; null when only a search failed. */
  readonly short_by: number | null;
  readonly words: string;
  /** Each would do alone; the least first. */
  readonly remedies: readonly Remedy[];
}

/** `noodle.plan.v1`: the answer to a problem. */
export interface PlanDocument {
  readonly schema: "noodle.plan.v1";
  readonly objective: Objective;
  readonly feasible: boolean;
  readonly stages: readonly PlanStage[];
  readonly period_ms: number | null;
  readonly latency_ms: number | null;
  /** Nodes used. */
  readonly nodes: number | null;
  /** What limits the period. */
  readonly bottleneck: Bottleneck | null;
  /**
   * No plan has less: of the period (`period`, `pareto`), of the latency (`latency`), of the period with so few nodes
   * (`fewest_nodes`).
   */
  readonly bound_ms: number | null;
  /** Objective `fewest_nodes`: no plan has fewer. */
  readonly bound_nodes?: number;
  /** (found - bound) / bound; null without a bound above 0. */
  readonly gap: number | null;
  /** Bound and value meet; of an infeasible problem: that there is no plan. */
  readonly proven: boolean;
  readonly algorithm: string;
  readonly solve_ms: number;
  /** The time limit ended the work. */
  readonly time_limit_hit: boolean;
  readonly alternatives: readonly PlanAlternative[];
  readonly infeasible_because?: Infeasibility;
}
