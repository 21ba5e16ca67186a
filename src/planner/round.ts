import { listAlternatives } from "./alternatives.ts";
import { Deadline } from "./deadline.ts";
import type { Problem } from "./document.ts";
import { type Draft, draftOf, measureDraft } from "./draft.ts";
import { evaluatePlan, type StageRange } from "./evaluate.ts";
import { Incumbent, MEETS, meets } from "./incumbent.ts";
import { Instance, type Piece } from "./instance.ts";
import { groupKinds } from "./kinds.ts";
import type { PlanOptions } from "./plan.ts";
import type { PlanAlternative, PlanFigures } from "./plan-document.ts";
import type { SolveContext } from "./solve/context.ts";
import { chooseLatencyMethod, solveLatency } from "./solve/latency.ts";
import { solvePeriod } from "./solve/period.ts";

const TIME_LIMIT_S = 10;

export interface RoundGoal {
  /** Micro-batches in flight, m. */
  readonly inFlight: number;
  /** Part of the way round that is the same for every plan, beside its latency. @default 0 */
  readonly extraMs?: number;
}

/** The plan that brings all micro-batches round soonest. */
export interface RoundPlan {
  /** Null when none was found. */
  readonly figures: PlanFigures | null;
  /** `max(latency + extra, m x period)`: how often each of m micro-batches comes round. Infinite without a plan. */
  readonly roundMs: number;
  /** No plan has less; infinite when it is proven that there is none. */
  readonly boundMs: number;
  readonly proven: boolean;
  readonly algorithm: string;
  readonly timeLimitHit: boolean;
}

/**
 * Plans for a fixed number m of micro-batches in flight: the least `max(latency + extra, m x period)`. A micro-batch
 * comes round as soon as it has passed all stages, but no sooner than the busiest stage has served the m - 1 others.
 *
 * The least latency with any period is the first plan. One that is better has a period below its value / m: the least
 * latency of those is the next, and so on until no better one can be. Exact where the planner's latency is.
 *
 * @param problem of one node for each stage; its objective is not looked at
 */
export async function planRound(problem: Problem, goal: RoundGoal, options: PlanOptions): Promise<RoundPlan> {
  const { inFlight, extraMs = 0 } = goal;
  const deadline = new Deadline(options.nowMs, (problem.time_limit_s ?? TIME_LIMIT_S) * 1000);
  const instance = new Instance({ ...problem, objective: "latency", replicas: 1 });
  const kinds = groupKinds(instance);
  const context: SolveContext = { kinds, deadline, solver: options.solver ?? null };
  const best = new Incumbent<readonly Piece[]>();
  const offer = (pieces: readonly Piece[] | null): void => {
    if (pieces === null) return;
    const { figures } = measureDraft(instance, draftOf(kinds.assignNodes(pieces)));
    best.offer(pieces, Math.max(figures.latency_ms + extraMs, inFlight * figures.period_ms));
  };
  const algorithms: string[] = [];
  const conclude = (): RoundPlan => {
    const figures = best.plan === null ? null : measureDraft(instance, draftOf(kinds.assignNodes(best.plan))).figures;
    return {
      figures,
      roundMs: best.value,
      boundMs: meets(best.value, best.bound) ? best.value : best.bound,
      proven: best.plan === null ? best.bound === Number.POSITIVE_INFINITY : best.isProven,
      algorithm: [...new Set(algorithms)].join("+"),
      timeLimitHit: deadline.passed,
    };
  };
  const method = chooseLatencyMethod(context);
  const first = solveLatency(context, instance.capMs, method);
  algorithms.push(first.algorithm);
  offer(first.incumbent.plan);
  best.raise(first.incumbent.bound + extraMs);
  if (best.isProven || (best.plan === null && first.incumbent.bound === Number.POSITIVE_INFINITY)) return conclude();
  if (inFlight > 1) {
    const quick = await solvePeriod(context, instance.capMs, Number.POSITIVE_INFINITY);
    algorithms.push(quick.algorithm);
    offer(quick.incumbent.plan);
    best.raise(inFlight * quick.incumbent.bound);
  }
  let least = first.incumbent.bound;
  while (!deadline.passed && !best.isProven && best.plan !== null) {
    // Whatever beats the best so far has a smaller period than this.
    const limitMs = Math.min(instance.capMs, (best.value / inFlight) * (1 - MEETS));
    const { incumbent } = solveLatency(context, limitMs, method);
    least = Math.max(least, incumbent.bound);
    const before = best.value;
    offer(incumbent.plan);
    // Plans of a larger period are no better than `before`; those within the limit take at least `least`.
    best.raise(Math.min(before, least + extraMs));
    if (best.value >= before * (1 - MEETS)) break;
  }
  return conclude();
}

/** Plans near one, each with the best cuts for its order, the best for the objective first; and the quickest node alone. */
export function listNeighbourPlans(
  problem: Problem,
  stages: readonly StageRange[],
  options: Pick<PlanOptions, "nowMs"> & { readonly timeLimitS?: number },
): PlanAlternative[] {
  evaluatePlan(problem, stages);
  const instance = new Instance(problem);
  const indexes = new Map(problem.nodes.map((node, index) => [node.id, index]));
  const draft: Draft = stages.map(({ nodes, first, end, pipeline = 0 }) => ({
    nodes: nodes.map((id) => indexes.get(id) ?? 0),
    first,
    end,
    pipeline,
  }));
  return listAlternatives(
    instance,
    draft,
    problem.objective,
    new Deadline(options.nowMs, (options.timeLimitS ?? 1) * 1000),
  );
}
