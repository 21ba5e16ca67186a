import { setTimeout as sleep } from "node:timers/promises";
import type { Coordinator, StatusDocument, WantedPlan } from "../cluster/coordinator/index.ts";
import { type ModelPlan, planModel, type PlanWorkload } from "../placement/index.ts";
import { openHighs } from "../planner/index.ts";
import type { CommandContext } from "./command.ts";
import { wantPlan } from "./plan-file.ts";
import { type Placement, readPlacement } from "./plan-sources.ts";

export interface LiveCluster {
  readonly context: CommandContext;
  readonly coordinator: Coordinator;
  /** The model's file. */
  readonly model: string;
  readonly profiles: readonly string[];
  readonly strict: boolean;
}

/** The first round trips are measured as soon as the stages are connected. */
const LINKS_TIMEOUT_MS = 2000;
const POLL_MS = 50;
const PLAN_LIMIT_S = 10;

/** Model, nodes, profiles and measured links of a cluster that runs in this process. @throws as `readPlacement` */
export async function readLivePlacement(live: LiveCluster): Promise<Placement> {
  const { context, coordinator, model, profiles, strict } = live;
  const status = await untilLinksAreKnown(coordinator, context.signal);
  return readPlacement({ model, status, profiles, strict }, context);
}

/** What the cluster is there for, as its coordinator was started. */
export function describeWorkload({ coordinator, serving }: StatusDocument): PlanWorkload {
  return {
    streams: coordinator.parallel,
    contextTokens: coordinator.context_tokens,
    determinism: serving.determinism,
  };
}

/** Plans the cluster by its profiles. @throws as `planModel`; PLAN_INFEASIBLE */
export async function planLive(
  live: LiveCluster,
  placement: Placement,
): Promise<{ readonly plan: ModelPlan; readonly wanted: WantedPlan }> {
  const { context, coordinator } = live;
  const workload = describeWorkload(coordinator.status());
  const solver = openHighs();
  try {
    const input = { ...placement, objective: "throughput" as const, workload, timeLimitS: PLAN_LIMIT_S };
    const plan = await planModel(input, { nowMs: () => context.host.nowMs(), solver });
    return { plan, wanted: wantPlan(plan) };
  } finally {
    await solver.close();
  }
}

async function untilLinksAreKnown(coordinator: Coordinator, signal: AbortSignal): Promise<StatusDocument> {
  for (let waitedMs = 0; ; waitedMs += POLL_MS) {
    const status = coordinator.status();
    const isKnown = status.nodes.every((node) => node.units === null || node.rtt_ms !== null);
    if (isKnown || waitedMs >= LINKS_TIMEOUT_MS) return status;
    await sleep(POLL_MS, undefined, { signal });
  }
}
