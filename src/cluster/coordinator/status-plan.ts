import { type ClusterState, formatUnits, type Plan } from "../state/index.ts";

/** The plan in force, and what becomes of it. */
export interface StatusPlan {
  readonly epoch: number;
  readonly split: string;
  /** Names of the holders, in order; null where a stage has none. */
  readonly order: readonly (string | null)[];
  /** Why it was made; null where something broke the one before, and for the first. */
  readonly reason: string | null;
  /** SHA-256 of the plan's document, hex; null where nobody planned it. */
  readonly sha256: string | null;
  /** What the document promises; null where nobody planned it. */
  readonly predicted: {
    readonly period_ms: number | null;
    readonly latency_ms: number | null;
    readonly tokens_per_s: number | null;
  } | null;
  /** The plan that is to follow it; null where there is none. */
  readonly next: {
    readonly epoch: number;
    readonly split: string;
    readonly order: readonly (string | null)[];
    /** `beside`: it is loaded beside this one; `drain`: it waits for the end of all sessions. */
    readonly mode: "beside" | "drain";
    readonly ready_stages: number;
  } | null;
  /** The plan before it, while sessions end on it. */
  readonly former: { readonly epoch: number; readonly split: string; readonly sessions: number } | null;
  /** Why the last plan that was asked for is not in force; null where it is. */
  readonly refused: { readonly code: string; readonly message: string } | null;
}

/** @returns null before the first plan. Pure. */
export function describeStatusPlan(state: ClusterState): StatusPlan | null {
  const { plan, next, former, refused } = state;
  if (plan === null) return null;
  const terms = plan.terms ?? null;
  return {
    epoch: plan.epoch,
    split: splitOf(plan),
    order: orderOf(state, plan),
    reason: plan.reason ?? null,
    sha256: terms?.sha256 ?? null,
    predicted:
      terms === null
        ? null
        : {
            period_ms: terms.predictedPeriodMs,
            latency_ms: terms.predictedLatencyMs,
            tokens_per_s: terms.predictedTokensPerSec,
          },
    next:
      next === null
        ? null
        : {
            epoch: next.plan.epoch,
            split: splitOf(next.plan),
            order: orderOf(state, next.plan),
            mode: next.mode,
            ready_stages: [...next.reports.values()].filter(({ phase }) => phase === "ready").length,
          },
    former:
      former === null
        ? null
        : {
            epoch: former.plan.epoch,
            split: splitOf(former.plan),
            sessions: [...state.sessions.values()].filter(({ epoch }) => epoch === former.plan.epoch).length,
          },
    refused: refused === null ? null : { code: refused.code, message: refused.message },
  };
}

function splitOf(plan: Plan): string {
  return plan.stages.map(({ units }) => formatUnits(units)).join(",");
}

function orderOf({ nodes }: ClusterState, plan: Plan): readonly (string | null)[] {
  return plan.stages.map(({ nodeId }) => nodes.get(nodeId ?? "")?.name ?? null);
}
