import {
  compareBaselines,
  listNeighbourPlans,
  planProblem,
  type PlanDocument,
  type StageRange,
} from "../planner/index.ts";
import { formatSplit } from "../model/index.ts";
import type { ModelPlanAlternative, ModelPlanBaseline, PlacementObjective, PlanModelOptions } from "./plan-types.ts";
import { makeLegal, searchPlan } from "./search.ts";
import { Setup, type StagePlace } from "./setup.ts";
import { type PlacedValue, valueBest, valueSingle } from "./value.ts";

/** Plans nearby that can be run, the best for the objective first. */
export function listAlternativePlans(
  setup: Setup,
  objective: PlacementObjective,
  stages: readonly StageRange[],
  best: PlacedValue,
  options: PlanModelOptions,
): ModelPlanAlternative[] {
  const problem =
    objective === "latency"
      ? ({ ...setup.problem(1), objective: "latency" } as const)
      : setup.problem(best.batching.rows);
  const near = listNeighbourPlans(problem, stages, options);
  const mine = describePlaces(best.places);
  const found = near.flatMap((plan) =>
    makeLegal(setup, plan.stages).flatMap((legal) => describeAlternative(setup, plan.what, legal)),
  );
  const others = found.filter((plan) => `${plan.split} ${plan.order.join(" ")}` !== mine);
  const sign = (a: ModelPlanAlternative, b: ModelPlanAlternative): number =>
    objective === "latency" ? a.single_itl_ms - b.single_itl_ms : b.tokens_per_s - a.tokens_per_s;
  return others.sort(sign);
}

/** Where one machine alone is best: the best plan of several, for comparison. */
export async function findTogether(
  setup: Setup,
  objective: PlacementObjective,
  timeLimitS: number,
  options: PlanModelOptions,
): Promise<ModelPlanAlternative[]> {
  if (setup.nodes.length === 1 || setup.bounds.length === 2) return [];
  const { model, cluster, nodes, workload } = setup;
  const together = new Setup(model, cluster, nodes, workload, false);
  const found = await searchPlan(together, objective, { ...options, timeLimitS });
  return found.stages === null ? [] : describeAlternative(setup, "the best of several machines together", found.stages);
}

/** All trade-offs of throughput and the latency of one stream, for cuts made for micro-batches of the plan's size. */
export async function listFront(
  setup: Setup,
  best: PlacedValue,
  timeLimitS: number,
  options: PlanModelOptions,
): Promise<{ readonly points: readonly ModelPlanAlternative[]; readonly algorithm: string }> {
  const problem = { ...setup.problem(best.batching.rows), objective: "pareto", time_limit_s: timeLimitS } as const;
  const single = { ...setup.problem(1), objective: "latency", time_limit_s: timeLimitS } as const;
  const front = await planProblem(problem, options);
  const quickest = await planProblem(single, { ...options, alternatives: false });
  const plans: (readonly StageRange[])[] = [
    ...(front.feasible ? [front.stages, ...front.alternatives.map((plan) => plan.stages)] : []),
    ...(quickest.feasible ? [quickest.stages] : []),
  ];
  const all = plans.flatMap((stages) =>
    makeLegal(setup, stages).flatMap((legal) => describeAlternative(setup, "another trade-off", legal)),
  );
  const own = describePlaces(best.places);
  const isWorse = (a: ModelPlanAlternative, b: ModelPlanAlternative): boolean =>
    b.tokens_per_s >= a.tokens_per_s &&
    b.single_itl_ms <= a.single_itl_ms &&
    (b.tokens_per_s > a.tokens_per_s || b.single_itl_ms < a.single_itl_ms);
  const seen = new Set([own]);
  const points = all
    .filter((plan) => !all.some((other) => isWorse(plan, other)))
    .filter((plan) => {
      const key = `${plan.split} ${plan.order.join(" ")}`;
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    })
    .sort((a, b) => b.tokens_per_s - a.tokens_per_s);
  return { points, algorithm: front.algorithm };
}

function describeAlternative(setup: Setup, what: string, stages: readonly StageRange[]): ModelPlanAlternative[] {
  const value = valueBest(setup, stages);
  if (value === null) return [];
  const { places } = value;
  return [
    {
      what,
      split: formatSplit(places),
      order: places.map((place) => place.node),
      tokens_per_s: value.tokensPerS,
      itl_ms: value.itlMs,
      single_itl_ms: valueSingle(setup, stages).roundMs,
    },
  ];
}

function describePlaces(places: readonly StagePlace[]): string {
  return `${formatSplit(places)} ${places.map((place) => place.node).join(" ")}`;
}

/** What the rules of other systems give for the same model, costs and links, each with the batching that suits it best. */
export function compareRules(setup: Setup, objective: PlacementObjective, best: PlacedValue): ModelPlanBaseline[] {
  const { rows } = best.batching;
  const problem = setup.problem(rows);
  const ours = objective === "latency" ? valueSingleOf(setup, best) : best.tokensPerS;
  return compareBaselines(problem, describeAnswer(best)).map((row): ModelPlanBaseline => {
    const none = {
      name: row.name,
      rule: row.rule,
      feasible: false,
      tokens_per_s: null,
      itl_ms: null,
      ours_better_by: null,
    };
    if (row.figures === null) return { ...none, split: null, order: [], reason: row.reason };
    // A rule that lets nodes share a stage, or makes several pipelines, gives nothing that one pipeline can run.
    const isChain = row.figures.stages.every((stage) => stage.nodes.length === 1 && (stage.pipeline ?? 0) === 0);
    const places = isChain ? setup.toPlaces(row.figures.stages) : [];
    const shown = { split: isChain ? formatSplit(places) : null, order: places.map((place) => place.node) };
    if (!row.feasible || !isChain) {
      return { ...none, ...shown, reason: row.reason ?? "its stages are no single pipeline" };
    }
    const [legal] = makeLegal(setup, row.figures.stages);
    const value = legal === undefined ? null : valueBest(setup, legal);
    if (legal === undefined || value === null) {
      return { ...none, ...shown, reason: "a stage of it would change the model's result" };
    }
    const single = valueSingle(setup, legal).roundMs;
    return {
      ...none,
      ...shown,
      feasible: true,
      tokens_per_s: value.tokensPerS,
      itl_ms: value.itlMs,
      reason: null,
      ours_better_by: objective === "latency" ? single / ours : ours / value.tokensPerS,
    };
  });
}

function valueSingleOf(setup: Setup, best: PlacedValue): number {
  const stages = setup.toStages(best.places);
  return stages === null ? best.roundMs : valueSingle(setup, stages).roundMs;
}

/** As much of an answer as the planner's comparison looks at. */
function describeAnswer({ value, places }: PlacedValue): PlanDocument {
  return {
    schema: "noodle.plan.v1",
    objective: "period",
    feasible: true,
    stages: [],
    period_ms: value.period_ms,
    latency_ms: value.latency_ms,
    nodes: places.length,
    bottleneck: value.bottleneck,
    bound_ms: null,
    gap: null,
    proven: false,
    algorithm: "",
    solve_ms: 0,
    time_limit_hit: false,
    alternatives: [],
  };
}
