import { listAlternatives } from "./alternatives.ts";
import type { LinearSolver } from "./cover.ts";
import { Deadline } from "./deadline.ts";
import type { Problem } from "./document.ts";
import { type Draft, draftOf, measureDraft } from "./draft.ts";
import { explainInfeasible } from "./infeasible/explain.ts";
import { MEETS, meets } from "./incumbent.ts";
import { Instance } from "./instance.ts";
import { groupKinds } from "./kinds.ts";
import { NoodleError } from "../common/index.ts";
import type { Infeasibility, PlanAlternative, PlanDocument, PlanFigures } from "./plan-document.ts";
import type { SolveContext } from "./solve/context.ts";
import { solveFewest } from "./solve/fewest.ts";
import { solveLatency } from "./solve/latency.ts";
import { solvePareto } from "./solve/pareto.ts";
import { solvePeriod } from "./solve/period.ts";
import { solveWithReplicas } from "./solve/replicas.ts";

/** Where the problem gives no limit; a front is many plans. */
const TIME_LIMIT_S = 10;
const TIME_LIMIT_PARETO_S = 60;

export interface PlanOptions {
  /** Monotonic milliseconds. With a clock that stands still the answer depends on the problem alone. */
  readonly nowMs: () => number;
  /** For more distinct nodes than are planned exactly otherwise; `openHighs()`. @default none: search takes its place */
  readonly solver?: LinearSolver;
  /** @default true */
  readonly alternatives?: boolean;
}

/** What the solvers of all objectives give. */
interface Outcome {
  /** The best first. */
  readonly drafts: readonly Draft[];
  readonly boundMs: number;
  readonly boundNodes: number | null;
  readonly gap: number | null;
  readonly proven: boolean;
  readonly algorithm: string;
}

/**
 * Plans a problem: the best cuts that can be found, with a bound, or why there are none. Every plan that is returned was
 * checked by `evaluatePlan`, which knows nothing of the solvers.
 */
export async function planProblem(problem: Problem, options: PlanOptions): Promise<PlanDocument> {
  const usualS = problem.objective === "pareto" ? TIME_LIMIT_PARETO_S : TIME_LIMIT_S;
  const deadline = new Deadline(options.nowMs, (problem.time_limit_s ?? usualS) * 1000);
  const instance = new Instance(problem);
  const context: SolveContext = { kinds: groupKinds(instance), deadline, solver: options.solver ?? null };
  const outcome = await solve(context);
  const best = outcome.drafts[0];
  const head = { schema: "noodle.plan.v1", objective: problem.objective } as const;
  if (best === undefined) {
    const infeasible = outcome.proven
      ? await explainInfeasible(context, () => findLeastPeriod(context))
      : NOTHING_KNOWN;
    return {
      ...head,
      feasible: false,
      stages: [],
      period_ms: null,
      latency_ms: null,
      nodes: null,
      bottleneck: null,
      bound_ms: null,
      gap: null,
      proven: outcome.proven,
      algorithm: outcome.algorithm,
      solve_ms: deadline.spentMs,
      time_limit_hit: deadline.passed,
      alternatives: [],
      infeasible_because: infeasible,
    };
  }
  const { figures, value } = checkDraft(instance, best);
  const hit = deadline.passed;
  const alternatives =
    problem.objective === "pareto"
      ? outcome.drafts.slice(1).map((draft) => describePoint(instance, draft, outcome.proven))
      : options.alternatives === false
        ? []
        : listAlternatives(instance, best, problem.objective, deadline);
  return {
    ...head,
    feasible: true,
    ...figures,
    bottleneck: value.bottleneck,
    bound_ms: boundOf(problem, figures, outcome.boundMs),
    ...(outcome.boundNodes === null ? {} : { bound_nodes: outcome.boundNodes }),
    gap: outcome.gap,
    proven: outcome.proven,
    algorithm: outcome.algorithm,
    solve_ms: deadline.spentMs,
    time_limit_hit: hit,
    alternatives,
  };
}

/** Nothing may be said of what is short while there may be a plan. */
const NOTHING_KNOWN: Infeasibility = {
  resource: "time",
  short_by: null,
  words: "time: no plan was found, and that there is none is not proven; the least: a longer time_limit_s",
  remedies: [],
};

async function solve(context: SolveContext): Promise<Outcome> {
  const { kinds } = context;
  const { instance } = kinds;
  const { objective } = instance.problem;
  if (instance.replicas > 1 && instance.nodes.length > 1) {
    const answer = await solveWithReplicas(context, objective);
    const value = measureBest(instance, answer.drafts[0], objective === "latency");
    return conclude(answer.drafts, value, answer.boundMs, answer.proven, answer.algorithm, {
      found: objective === "fewest_nodes" ? countNodes(answer.drafts[0]) : null,
      bound: answer.boundNodes,
    });
  }
  if (objective === "pareto") {
    const front = await solvePareto(context, instance.capMs);
    const drafts = front.points.map((point) => draftOf(kinds.assignNodes(point.pieces)));
    const value = front.points[0]?.periodMs ?? 0;
    const outcome = conclude(drafts, value, front.periodBoundMs, front.proven, front.algorithm, null);
    // The gap of a front is that of its worst point.
    const gaps = front.points.map((point) => gapOf(point.latencyMs, point.latencyBoundMs));
    const gap = [outcome.gap, ...gaps].reduce((a, b) => (a === null || b === null ? null : Math.max(a, b)));
    return { ...outcome, gap: front.proven ? 0 : gap };
  }
  if (objective === "fewest_nodes") {
    const { incumbent, nodes, boundNodes, algorithm } = await solveFewest(context, instance.capMs);
    const drafts = incumbent.plan === null ? [] : [draftOf(kinds.assignNodes(incumbent.plan))];
    const proven = nodes === null ? boundNodes === Number.POSITIVE_INFINITY : nodes === boundNodes;
    const counted = { found: nodes, bound: boundNodes };
    return conclude(drafts, incumbent.value, incumbent.bound, proven, algorithm, counted);
  }
  const { incumbent, algorithm } =
    objective === "latency"
      ? solveLatency(context, instance.capMs)
      : await solvePeriod(context, instance.capMs, Number.POSITIVE_INFINITY);
  const drafts = incumbent.plan === null ? [] : [draftOf(kinds.assignNodes(incumbent.plan))];
  const proven = incumbent.isProven || (incumbent.plan === null && incumbent.bound === Number.POSITIVE_INFINITY);
  return conclude(drafts, incumbent.value, incumbent.bound, proven, algorithm, null);
}

/** Where bound and value are the same but for the rounding of sums, they are written the same. */
function boundOf(problem: Problem, figures: PlanFigures, boundMs: number): number {
  const value = problem.objective === "latency" ? figures.latency_ms : figures.period_ms;
  return meets(value, boundMs) ? value : boundMs;
}

function conclude(
  drafts: readonly Draft[],
  value: number,
  bound: number,
  proven: boolean,
  algorithm: string,
  nodes: { readonly found: number | null; readonly bound: number } | null,
): Outcome {
  const boundMs = Math.min(bound, value);
  const counted = nodes !== null && nodes.found !== null ? nodes : null;
  const gap = counted === null ? gapOf(value, boundMs) : gapOf(counted.found ?? 0, counted.bound);
  return {
    drafts,
    boundMs: proven && counted === null ? value : boundMs,
    boundNodes: counted?.bound ?? null,
    gap: proven ? 0 : gap,
    proven,
    algorithm,
  };
}

function gapOf(value: number, bound: number): number | null {
  if (value - bound <= MEETS * value) return 0;
  return bound > 0 ? (value - bound) / bound : null;
}

/** Values the plan independently; a plan that breaks the problem never leaves. */
function checkDraft(instance: Instance, draft: Draft): ReturnType<typeof measureDraft> {
  const measured = measureDraft(instance, draft);
  const [violation] = measured.value.violations;
  if (violation !== undefined) throw new NoodleError("INTERNAL", `the planner's plan is none: ${violation.words}`);
  return measured;
}

function describePoint(instance: Instance, draft: Draft, proven: boolean): PlanAlternative {
  return { what: "another trade-off", ...checkDraft(instance, draft).figures, proven };
}

function measureBest(instance: Instance, draft: Draft | undefined, latency: boolean): number {
  if (draft === undefined) return Number.POSITIVE_INFINITY;
  const { figures } = measureDraft(instance, draft);
  return latency ? figures.latency_ms : figures.period_ms;
}

function countNodes(draft: Draft | undefined): number | null {
  return draft?.reduce((sum, stage) => sum + stage.nodes.length, 0) ?? null;
}

/** The least period without a limit of it: what a limit would have to allow. */
async function findLeastPeriod(context: SolveContext): Promise<number | null> {
  const { max_period_ms: _, ...uncapped } = context.kinds.instance.problem;
  const kinds = groupKinds(new Instance({ ...uncapped, objective: "period" }));
  const { drafts, boundMs } = await solve({ ...context, kinds, deadline: context.deadline.extended(2_000) });
  return drafts.length === 0 ? null : Math.max(boundMs, measureBest(kinds.instance, drafts[0], false));
}
