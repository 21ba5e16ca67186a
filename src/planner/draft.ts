import { evaluatePlan, type PlanValue, type StageRange } from "./evaluate.ts";
import type { Instance, Piece } from "./instance.ts";
import type { PlanFigures } from "./plan-document.ts";

/** A stage before it has ids: indexes of nodes. */
export interface DraftStage {
  readonly nodes: readonly number[];
  readonly first: number;
  readonly end: number;
  readonly pipeline: number;
}

export type Draft = readonly DraftStage[];

/** One node for each stage, one pipeline. */
export function draftOf(pieces: readonly Piece[]): Draft {
  return pieces.map(({ node, first, end }) => ({ nodes: [node], first, end, pipeline: 0 }));
}

/** The stages with ids; `pipeline` only where there are several. */
export function nameStages(instance: Instance, draft: Draft): StageRange[] {
  const several = draft.some((stage) => stage.pipeline > 0);
  return draft.map(({ nodes, first, end, pipeline }) => ({
    nodes: nodes.map((index) => instance.problem.nodes[index]?.id ?? String(index)),
    first,
    end,
    ...(several ? { pipeline } : {}),
  }));
}

/** Figures of a plan, from the independent evaluation. */
export function measureDraft(instance: Instance, draft: Draft): { figures: PlanFigures; value: PlanValue } {
  const ranges = nameStages(instance, draft);
  const value = evaluatePlan(instance.problem, ranges);
  const stages = ranges.map((range, index) => ({
    ...range,
    ms: value.stage_ms[index] ?? 0,
    bytes: value.stage_bytes[index] ?? 0,
  }));
  const nodes = draft.reduce((sum, stage) => sum + stage.nodes.length, 0);
  return { figures: { stages, period_ms: value.period_ms, latency_ms: value.latency_ms, nodes }, value };
}
