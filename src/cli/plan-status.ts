import type { StatusDocument } from "../cluster/coordinator/index.ts";
import type { LiveDocument } from "../metrics/index.ts";
import { readLive } from "./live-schema.ts";

/** What is in force, in words. */
export function describePlanStatus({ plan, live }: Pick<StatusDocument, "plan" | "live">): readonly string[] {
  if (plan === null) return ["no plan yet"];
  const lines = [`plan ${plan.epoch}: ${describeSides(plan)}`];
  if (plan.sha256 !== null) {
    const { period_ms = null, latency_ms = null, tokens_per_s = null } = plan.predicted ?? {};
    const figure = (value: number | null, unit: string): string =>
      value === null ? "?" : `${value.toFixed(2)} ${unit}`;
    lines.push(
      `  of document ${plan.sha256.slice(0, 16)}, which predicts a period of ${figure(period_ms, "ms")}, ${figure(latency_ms, "ms")} for one round, ${figure(tokens_per_s, "tokens/s")}`,
    );
    const measured = measurePlan(readLive(live));
    if (measured !== null) {
      lines.push(
        `  measured of late: a period of ${figure(measured.period_ms, "ms")}, ${figure(measured.latency_ms, "ms")} for one round, ${figure(measured.tokens_per_s, "tokens/s")}; the load may be another than the one planned for`,
      );
    }
  }
  if (plan.reason !== null) lines.push(`  because: ${plan.reason}`);
  const { next, former, refused } = plan;
  if (next !== null) {
    const how = next.mode === "drain" ? "waits for the end of all sessions" : `${next.ready_stages} stages are ready`;
    lines.push(`  next, plan ${next.epoch}: ${describeSides(next)}; ${how}`);
  }
  if (former !== null) lines.push(`  ${former.sessions} sessions end on plan ${former.epoch}, ${former.split}`);
  if (refused !== null)
    lines.push(`  the last plan that was asked for was given up: ${refused.code}, ${refused.message}`);
  return lines;
}

/** What a plan's document predicts, as it turned out. */
export interface MeasuredPlan {
  /** Median compute time of the busiest stage for a decode step. */
  readonly period_ms: number | null;
  /** Median from the sending of a decode step to its answer. */
  readonly latency_ms: number | null;
  readonly tokens_per_s: number;
}

/** @returns null before the first decode step. Pure. */
export function measurePlan(live: LiveDocument | null): MeasuredPlan | null {
  const round = live?.step_ms.decode ?? null;
  if (live === null || round === null) return null;
  const times = live.stages.flatMap(({ decode }) => (decode === null ? [] : [decode.compute_ms.p50]));
  return {
    period_ms: times.length === 0 ? null : Math.max(...times),
    latency_ms: round.p50,
    tokens_per_s: live.tokens_per_s.generated,
  };
}

/** `0:3 on a, 3:6 on b` */
export function describeSides({
  split,
  order,
}: {
  readonly split: string;
  readonly order: readonly (string | null)[];
}): string {
  const stages = split.split(",");
  return stages.map((units, stage) => `${units} on ${order[stage] ?? "nobody"}`).join(", ");
}
