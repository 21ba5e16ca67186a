import { TimeIsUp } from "../deadline.ts";
import type { Objective } from "../document.ts";
import { type Draft, draftOf } from "../draft.ts";
import { MEETS, meets } from "../incumbent.ts";
import { boundReplicatedPeriod } from "../replicas/bound.ts";
import { latencyOf } from "../latency/latency-of.ts";
import { canSolveReplicas, type ReplicaPlan, solveReplicas } from "../replicas/exact.ts";
import { searchReplicas } from "../replicas/search.ts";
import type { SolveContext } from "./context.ts";
import { solveFewest } from "./fewest.ts";
import { solveLatency } from "./latency.ts";
import { solvePareto } from "./pareto.ts";

export interface ReplicaAnswer {
  /** The best first; more than one for `pareto`, by growing period. Empty: no plan was found. */
  readonly drafts: readonly Draft[];
  readonly boundMs: number;
  readonly boundNodes: number;
  readonly proven: boolean;
  readonly algorithm: string;
}

/** Plans in which several nodes may serve a stage, or several pipelines the cluster. */
export async function solveWithReplicas(context: SolveContext, objective: Objective): Promise<ReplicaAnswer> {
  const { instance } = context.kinds;
  const both = objective === "latency" || objective === "pareto";
  if (objective === "latency" && instance.capMs === Number.POSITIVE_INFINITY) return withoutCopies(context);
  if (canSolveReplicas(instance, both)) {
    try {
      const plans = solveReplicas(instance, { both, deadline: context.deadline });
      return chooseExactly(plans, objective, instance.capMs);
    } catch (thrown) {
      if (!(thrown instanceof TimeIsUp)) throw thrown;
    }
  }
  return await chooseFound(context, objective);
}

/** More nodes for a stage never make a step quicker: without a limit of the period none are needed. */
function withoutCopies(context: SolveContext): ReplicaAnswer {
  const { incumbent, algorithm } = solveLatency(context, context.kinds.instance.capMs);
  const drafts = incumbent.plan === null ? [] : [draftOf(context.kinds.assignNodes(incumbent.plan))];
  const proven = incumbent.isProven || (drafts.length === 0 && incumbent.bound === Number.POSITIVE_INFINITY);
  return { drafts, boundMs: incumbent.bound, boundNodes: 1, proven, algorithm };
}

function chooseExactly(plans: readonly ReplicaPlan[], objective: Objective, capMs: number): ReplicaAnswer {
  const allowed = plans.filter((plan) => plan.periodMs <= capMs * (1 + 1e-12));
  const sorted = sortFor(objective, allowed);
  const chosen = objective === "pareto" ? keepFront(sorted) : sorted.slice(0, 1);
  const best = chosen[0];
  const boundMs = best === undefined ? 0 : objective === "latency" ? best.latencyMs : best.periodMs;
  return {
    drafts: chosen.map((plan) => plan.draft),
    boundMs,
    boundNodes: best?.nodes ?? Number.POSITIVE_INFINITY,
    proven: true,
    algorithm: "replica-subset-dp",
  };
}

async function chooseFound(context: SolveContext, objective: Objective): Promise<ReplicaAnswer> {
  const { kinds } = context;
  const { capMs } = kinds.instance;
  const periodBoundMs = boundReplicatedPeriod(kinds);
  const found: ReplicaPlan[] = await searchReplicas(context);
  let latencyBoundMs = 0;
  let boundNodes = 1;
  let algorithm = "replica-search+bound";
  if (objective === "latency" || objective === "pareto") {
    // What holds without copies holds for the latency with them, if no limit of the period asks for copies.
    const { incumbent } = solveLatency(context, Number.POSITIVE_INFINITY);
    latencyBoundMs = incumbent.bound;
    const front = await solvePareto(context, capMs);
    algorithm = `${front.algorithm}+replica-search`;
    for (const point of front.points) {
      const draft = draftOf(kinds.assignNodes(point.pieces));
      found.push({ draft, periodMs: point.periodMs, latencyMs: point.latencyMs, nodes: draft.length });
    }
  }
  if (objective === "fewest_nodes") {
    const fewest = await solveFewest(context, capMs);
    if (capMs === Number.POSITIVE_INFINITY) boundNodes = fewest.boundNodes;
    if (fewest.incumbent.plan !== null) {
      const draft = draftOf(kinds.assignNodes(fewest.incumbent.plan));
      const latencyMs = latencyOf(kinds, fewest.incumbent.plan);
      found.push({ draft, periodMs: fewest.incumbent.value, latencyMs, nodes: draft.length });
    }
  }
  const sorted = sortFor(
    objective,
    found.filter((plan) => plan.periodMs <= capMs * (1 + 1e-12)),
  );
  const chosen = objective === "pareto" ? keepFront(sorted) : sorted.slice(0, 1);
  const best = chosen[0];
  const boundMs = objective === "latency" ? latencyBoundMs : periodBoundMs;
  return {
    drafts: chosen.map((plan) => plan.draft),
    boundMs,
    boundNodes,
    proven: best === undefined ? periodBoundMs > capMs : isMet(objective, best, boundMs, boundNodes),
    algorithm,
  };
}

function isMet(objective: Objective, best: ReplicaPlan, boundMs: number, boundNodes: number): boolean {
  if (objective === "pareto") return false;
  if (objective === "fewest_nodes") return best.nodes === boundNodes;
  return meets(objective === "latency" ? best.latencyMs : best.periodMs, boundMs);
}

function sortFor(objective: Objective, plans: readonly ReplicaPlan[]): ReplicaPlan[] {
  const order = (a: ReplicaPlan, b: ReplicaPlan): number => {
    if (objective === "latency") return a.latencyMs - b.latencyMs || a.periodMs - b.periodMs || a.nodes - b.nodes;
    if (objective === "fewest_nodes") return a.nodes - b.nodes || a.periodMs - b.periodMs;
    return a.periodMs - b.periodMs || a.latencyMs - b.latencyMs || a.nodes - b.nodes;
  };
  return [...plans].sort(order);
}

/** Of plans by growing period, those with a smaller latency than all before. */
function keepFront(sorted: readonly ReplicaPlan[]): ReplicaPlan[] {
  const front: ReplicaPlan[] = [];
  for (const plan of sorted) {
    const last = front.at(-1);
    if (last === undefined || plan.latencyMs < last.latencyMs * (1 - MEETS)) front.push(plan);
  }
  return front;
}
