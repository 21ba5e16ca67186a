import { NoodleError } from "../../common/index.ts";
import type { Problem } from "../document.ts";
import { measureDraft } from "../draft.ts";
import { Instance } from "../instance.ts";
import { MEETS } from "../incumbent.ts";
import { planProblem, type PlanOptions } from "../plan.ts";
import type { PlanDocument, PlanFigures } from "../plan-document.ts";
import type { Baseline } from "./baseline.ts";
import { equal, halda } from "./by-count.ts";
import { exo, exoRing, llamaCpp, llamaCppFit } from "./by-memory.ts";
import { parallax } from "./parallax.ts";
import { petals } from "./petals.ts";
import { pipeEdge } from "./pipeedge.ts";

const BASELINES: readonly Baseline[] = [equal, llamaCpp, llamaCppFit, exoRing, exo, petals, pipeEdge, halda, parallax];

/** Names of the baselines with what they do. */
export const BASELINE_RULES: ReadonlyMap<string, string> = new Map(BASELINES.map(({ name, rule }) => [name, rule]));

/** What a baseline's plan is worth under the problem's own cost model. */
export interface ComparisonRow {
  readonly name: string;
  readonly rule: string;
  /** The plan can be run. */
  readonly feasible: boolean;
  /** Null where the rule gives no plan. */
  readonly figures: PlanFigures | null;
  /** Why there is no plan, or why it can't be run. */
  readonly reason: string | null;
  /** Its value / ours: period, latency or nodes, as the objective says; null where it can't be run. */
  readonly ratio: number | null;
}

/** Plans of all baselines beside the planner's. */
export function compareBaselines(problem: Problem, answer: PlanDocument): ComparisonRow[] {
  const instance = new Instance(problem);
  return BASELINES.map((baseline) => compareOne(instance, baseline, answer));
}

function compareOne(instance: Instance, baseline: Baseline, answer: PlanDocument): ComparisonRow {
  const { name, rule } = baseline;
  const result = baseline.plan(instance);
  if (!("draft" in result)) return { name, rule, feasible: false, figures: null, reason: result.reason, ratio: null };
  const { figures, value } = measureDraft(instance, result.draft);
  const [violation] = value.violations;
  if (violation !== undefined) {
    return { name, rule, feasible: false, figures, reason: violation.words, ratio: null };
  }
  const ours = valueOf(answer, answer);
  return { name, rule, feasible: true, figures, reason: null, ratio: ours ? valueOf(answer, figures) / ours : null };
}

function valueOf(answer: PlanDocument, figures: Partial<PlanFigures> | PlanDocument): number {
  if (answer.objective === "latency") return figures.latency_ms ?? 0;
  return (answer.objective === "fewest_nodes" ? figures.nodes : figures.period_ms) ?? 0;
}

/**
 * The plan of one baseline as an answer: with the planner's bound, and the planner's plan as the alternative.
 *
 * @throws USAGE for a name that is none
 */
export async function planBaseline(problem: Problem, name: string, options: PlanOptions): Promise<PlanDocument> {
  const baseline = BASELINES.find((candidate) => candidate.name === name);
  if (baseline === undefined) {
    const names = [...BASELINE_RULES.keys()].join(", ");
    throw new NoodleError("USAGE", `there is no baseline "${name}"; there are ${names}`);
  }
  const answer = await planProblem(problem, { ...options, alternatives: false });
  const instance = new Instance(problem);
  const result = baseline.plan(instance);
  const algorithm = `baseline ${name}`;
  const ours = answer.feasible ? [{ what: "the planner's plan", ...figuresOf(answer) }] : [];
  const measured = "draft" in result ? measureDraft(instance, result.draft) : null;
  const broken = measured?.value.violations[0];
  if (measured === null || broken !== undefined) {
    const reason = "reason" in result ? result.reason : (broken?.words ?? "");
    return {
      ...answer,
      ...NO_PLAN,
      proven: false,
      algorithm,
      alternatives: ours,
      infeasible_because: {
        resource: broken === undefined || broken.resource === "replicas" ? "rule" : broken.resource,
        short_by: broken === undefined ? null : broken.needed - broken.limit,
        words: `the rule of ${name} gives no plan that can be run: ${reason}`,
        remedies: [],
      },
    };
  }
  const value = valueOf(answer, measured.figures);
  const bound = answer.objective === "fewest_nodes" ? (answer.bound_nodes ?? 0) : (answer.bound_ms ?? 0);
  const isMet = value - bound <= MEETS * value;
  return {
    ...answer,
    ...measured.figures,
    bottleneck: measured.value.bottleneck,
    gap: isMet ? 0 : bound > 0 ? (value - bound) / bound : null,
    proven: answer.proven && isMet && answer.objective !== "pareto",
    algorithm,
    alternatives: ours,
  };
}

const NO_PLAN = {
  feasible: false,
  stages: [],
  period_ms: null,
  latency_ms: null,
  nodes: null,
  bottleneck: null,
  gap: null,
} as const;

function figuresOf(answer: PlanDocument): PlanFigures {
  const { stages, period_ms, latency_ms, nodes } = answer;
  return { stages, period_ms: period_ms ?? 0, latency_ms: latency_ms ?? 0, nodes: nodes ?? 0 };
}
