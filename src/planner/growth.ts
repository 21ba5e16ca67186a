import type { Problem } from "./document.ts";
import { Instance } from "./instance.ts";
import { groupKinds } from "./kinds.ts";
import { planProblem, type PlanOptions } from "./plan.ts";
import type { PlanDocument } from "./plan-document.ts";
import { addTwin } from "./twin.ts";

/** What a further node would bring. */
export interface Growth {
  /** Node that the new one is like. */
  readonly like: string;
  readonly period_ms: number;
  readonly latency_ms: number;
  readonly nodes: number;
  /** Of the objective's value, new / old: below 1 is better. */
  readonly ratio: number;
  readonly proven: boolean;
}

/** Kinds that are tried: those that the plan uses first. */
const KINDS_TRIED = 6;
/** Share of the problem's own time for each. */
const TIME_LIMIT_S = 2;

/** Plans the problem again with one more identical node of each kind, the best first. */
export async function planGrowth(problem: Problem, answer: PlanDocument, options: PlanOptions): Promise<Growth[]> {
  if (!answer.feasible) return [];
  const used = new Set(answer.stages.flatMap((stage) => stage.nodes));
  const kinds = groupKinds(new Instance(problem));
  const ids = kinds.members
    .map((nodes) => nodes.map((node) => problem.nodes[node]?.id ?? ""))
    .sort((a, b) => Number(b.some((id) => used.has(id))) - Number(a.some((id) => used.has(id))))
    .slice(0, KINDS_TRIED)
    .map((members) => members[0] ?? "");
  const grown: Growth[] = [];
  for (const like of ids) {
    const larger = {
      ...addTwin(problem, like),
      time_limit_s: Math.min(problem.time_limit_s ?? TIME_LIMIT_S, TIME_LIMIT_S),
    };
    const next = await planProblem(larger, { ...options, alternatives: false });
    if (!next.feasible) continue;
    const { period_ms, latency_ms, nodes } = next;
    const old = valueOf(answer);
    const ratio = old > 0 ? valueOf(next) / old : 1;
    grown.push({
      like,
      period_ms: period_ms ?? 0,
      latency_ms: latency_ms ?? 0,
      nodes: nodes ?? 0,
      ratio,
      proven: next.proven,
    });
  }
  return grown.sort((a, b) => a.ratio - b.ratio);
}

function valueOf(answer: PlanDocument): number {
  if (answer.objective === "latency") return answer.latency_ms ?? 0;
  return (answer.objective === "fewest_nodes" ? answer.nodes : answer.period_ms) ?? 0;
}
