import { sum } from "../common/index.ts";
import { type ModelPlan, planModel, type PlacesValue, valuePlaces } from "../placement/index.ts";
import type { LoopCosts, LoopLoad, LoopMove, LoopOptions, LoopStage } from "./types.ts";

/** While weights are read beside a running stage, that stage loses so much of its speed. */
const LOADING_SLOWS = 0.1;
/** Connecting the new stages. */
const SWITCH_MS = 500;
/** How long sessions take of which nobody knows. */
const UNKNOWN_SESSION_MS = 30_000;
/** Ways in which the factors may be wrong together that are tried. */
const DRAWS = 32;

/** A new plan beside the one in force, under the same costs. */
export interface Weighed {
  readonly plan: ModelPlan;
  /** Null where the plan in force does not fit any more, or has a node that has gone. */
  readonly now: PlacesValue | null;
  /** New / old in the direction of better, minus 1. */
  readonly gain: number;
  readonly sameStages: boolean;
  readonly bytes: number;
  readonly loadMs: number;
  readonly beside: boolean;
}

/** @throws NoodleError as `planModel` */
export async function weighMove(
  costs: LoopCosts,
  stages: readonly LoopStage[],
  options: Pick<LoopOptions, "loadBytesPerMs" | "planLimitS" | "plannerNowMs">,
): Promise<Weighed | null> {
  const plan = await planModel(
    { ...costs, timeLimitS: options.planLimitS ?? 2 },
    { nowMs: options.plannerNowMs ?? (() => 0) },
  );
  if (!plan.feasible) return null;
  const now = valueNow(costs, stages);
  const next = valuePlaces(costs, plan.stages);
  const changed = plan.stages.filter((stage) => !stages.some((old) => isSame(old, stage)));
  const rate = options.loadBytesPerMs ?? 100_000;
  return {
    plan,
    now,
    gain: now === null || next === null ? Number.POSITIVE_INFINITY : compareValues(costs, now, next) - 1,
    sameStages: changed.length === 0 && plan.stages.length === stages.length,
    bytes: sum(changed.map(({ weights_bytes }) => weights_bytes)),
    // Nodes load beside one another.
    loadMs: Math.max(0, ...changed.map(({ weights_bytes }) => weights_bytes)) / rate,
    beside: fitsBeside(plan, now),
  };
}

/** What one set of stages brings against another under the same costs; null where one of them does not fit. */
export function compareStages(
  costs: LoopCosts,
  old: readonly LoopStage[],
  stages: readonly LoopStage[],
): number | null {
  const [now, next] = [valueNow(costs, old), valueNow(costs, stages)];
  return now === null || next === null ? null : compareValues(costs, now, next) - 1;
}

function valueNow(costs: LoopCosts, stages: readonly LoopStage[]): PlacesValue | null {
  const names = new Set(costs.nodes.map(({ name }) => name));
  return stages.every(({ node }) => names.has(node)) ? valuePlaces(costs, stages) : null;
}

/** How many times as good the second is as the first. */
function compareValues({ objective }: LoopCosts, now: PlacesValue, next: PlacesValue): number {
  return objective === "latency" ? now.singleItlMs / next.singleItlMs : next.tokensPerS / now.tokensPerS;
}

function isSame(a: LoopStage, b: LoopStage): boolean {
  return a.node === b.node && a.first === b.first && a.end === b.end;
}

function fitsBeside(plan: ModelPlan, now: PlacesValue | null): boolean {
  return plan.stages.every((stage) => {
    if (stage.memory_bytes === null) return true;
    const old = now?.stages.find(({ node }) => node === stage.node);
    if (old !== undefined && isSame(old, stage)) return true;
    return (old?.memoryBytes ?? 0) + stage.weights_bytes + stage.kv_bytes + stage.reserve_bytes <= stage.memory_bytes;
  });
}

/** Work lost by moving, as milliseconds of the whole cluster. */
export function costOfMoving({ loadMs, beside }: Pick<Weighed, "loadMs" | "beside">, load: LoopLoad): number {
  if (beside) return SWITCH_MS + LOADING_SLOWS * loadMs;
  const remainingMs = load.sessions === 0 ? 0 : (load.remainingMs ?? UNKNOWN_SESSION_MS);
  // While the last sessions end, half of the places are empty on average.
  return SWITCH_MS + loadMs + remainingMs / 2;
}

/** That the new plan is better, the factors being as uncertain as they are. @param draw costs with factors drawn anew */
export function estimateConfidence(weighed: Weighed, stages: readonly LoopStage[], draw: () => LoopCosts): number {
  if (weighed.now === null) return 1;
  let better = 0;
  for (let i = 0; i < DRAWS; i++) {
    const costs = draw();
    const [now, next] = [valueNow(costs, stages), valuePlaces(costs, weighed.plan.stages)];
    if (next !== null && (now === null || compareValues(costs, now, next) > 1)) better += 1;
  }
  return better / DRAWS;
}

export function describeMove(weighed: Weighed, confidence: number): LoopMove {
  const { plan, gain, bytes, loadMs, beside } = weighed;
  return { plan, gain, confidence, bytes, loadMs, beside };
}
