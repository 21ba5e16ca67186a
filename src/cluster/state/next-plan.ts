import { formatUnits, layoutKey } from "./check-plan.ts";
import { spreadStages } from "./spread.ts";
import type { ClusterState, NodeState, Plan, PlannedStage } from "./types.ts";

/** A worker that was lost before is trusted with a stage that is served elsewhere after a rest, longer each time. */
const REST_MS = { least: 500, most: 60_000 };

/** Holders of the plan's stages in order; vacant stages are left out. */
export function planHolders(state: ClusterState): readonly NodeState[] {
  return (state.plan?.stages ?? []).flatMap((stage) => {
    const node = stage.nodeId === null ? undefined : state.nodes.get(stage.nodeId);
    return node === undefined ? [] : [node];
  });
}

/**
 * A plan for a new epoch, when there is need of one and every unit finds a holder. A stage keeps its holder, or gets
 * back the one of the last start, since it has the file; the others are filled in join order. Where workers are too few,
 * those that are left take the units of the others.
 */
export function nextPlan(state: ClusterState): Plan | null {
  const { plan, broken, config } = state;
  const holding = planHolders(state);
  const whole = plan !== null && holding.length === plan.stages.length;
  const leaves = holding.some((node) => node.phase === "draining");
  const repaired = broken !== null && (leaves || holding.every((node) => node.phase === "ready"));
  if (whole && !repaired) return null;
  const { order } = config;
  if (plan === null && order !== undefined) {
    const spare = listSpare(state, []);
    const named = config.split.map(({ first, end }, stage): PlannedStage => {
      const units = { first, end };
      return { units, nodeId: take(spare, formatUnits(units), (node) => node.name === order[stage]) };
    });
    if (named.some(({ nodeId }) => nodeId === null)) return null;
    return { epoch: state.lastEpoch + 1, stages: named, terms: config.terms ?? null };
  }
  return choosePlan(state, whole && !leaves ? plan.stages : formerStages(state));
}

/** A plan without the workers that are about to leave; null where nobody leaves, or nothing can take their units. */
export function drainingPlan(state: ClusterState): Plan | null {
  const { plan } = state;
  if (!isSteady(state) || plan === null) return null;
  const leaving = planHolders(state).filter((node) => node.phase === "draining");
  const [first] = leaving;
  if (first === undefined) return null;
  const chosen = choosePlan(state, formerStages(state));
  if (chosen === null || state.refusedLayouts.has(layoutKey(chosen.stages))) return null;
  const names = leaving.map(({ name }) => name).join(", ");
  return { ...chosen, reason: `worker ${names} leaves` };
}

/** What became of a worker that wants to leave; null while that is not known. */
export function describeDrain(
  state: ClusterState,
  nodeId: string,
): { readonly moved: boolean; readonly reason: string } | null {
  const { plan, next, former } = state;
  const holds = [plan, next?.plan, former?.plan].some((known) =>
    known?.stages.some((stage) => stage.nodeId === nodeId),
  );
  if (!holds) return { moved: true, reason: "" };
  if (next !== null || former !== null || drainingPlan(state) !== null) return null;
  if (state.broken !== null && nextPlan(state) !== null) return null;
  const why = state.refused?.message ?? "no other worker is there that has room for its units";
  return { moved: false, reason: why };
}

/** The plan that the one in force stands in for, or one that is closer to it, when workers are there for it again. */
export function restoringPlan(state: ClusterState, nowMs: number): Plan | null {
  const { plan } = state;
  if (!isSteady(state) || plan?.wanted === undefined) return null;
  if (planHolders(state).some((node) => node.phase !== "ready")) return null;
  const rested = listSpare(state, plan.stages).filter((node) => {
    const restMs = node.losses === 0 ? 0 : Math.min(REST_MS.most, REST_MS.least * 2 ** node.losses);
    return nowMs - node.joinedMs >= restMs;
  });
  if (rested.length === 0) return null;
  const filled = fill(state, vacate(state, plan.wanted));
  const stages = isWhole(filled) ? filled : spreadStages(state, filled);
  if (stages === null || stages.length <= plan.stages.length) return null;
  if (state.refusedLayouts.has(layoutKey(stages))) return null;
  const tired = listSpare(state, plan.stages).filter((node) => !rested.includes(node));
  if (stages.some(({ nodeId }) => tired.some(({ id }) => id === nodeId))) return null;
  const names = rested.map(({ name }) => name).join(", ");
  return {
    epoch: state.lastEpoch + 1,
    stages,
    terms: null,
    reason: `worker ${names} is there: units are given out as before`,
    ...(isWhole(filled) ? {} : { wanted: plan.wanted }),
  };
}

function isSteady({ broken, next, former }: ClusterState): boolean {
  return broken === null && next === null && former === null;
}

function choosePlan(state: ClusterState, base: readonly PlannedStage[]): Plan | null {
  const { plan } = state;
  const wanted = plan?.fallback === undefined ? plan?.wanted : undefined;
  const filledWanted = wanted === undefined ? null : fill(state, vacate(state, wanted));
  if (filledWanted !== null && isWhole(filledWanted)) return makePlan(state, filledWanted);
  const filled = fill(state, base);
  if (isWhole(filled)) return makePlan(state, filled, wanted);
  // A cluster starts with the workers that it was told to wait for.
  if (plan === null) return null;
  const target = wanted ?? base;
  const spread = spreadStages(state, filled);
  if (spread !== null) return makePlan(state, spread, target);
  const closer = filledWanted === null ? null : spreadStages(state, filledWanted);
  return closer === null ? null : makePlan(state, closer, target);
}

function makePlan(state: ClusterState, stages: readonly PlannedStage[], wanted?: readonly PlannedStage[]): Plan {
  const { plan } = state;
  // What was promised was promised of these nodes.
  const isSame =
    plan !== null &&
    stages.length === plan.stages.length &&
    stages.every(({ units, nodeId }, stage) => isStage(plan.stages[stage], units, nodeId));
  const terms = isSame ? (plan.terms ?? null) : null;
  return { epoch: state.lastEpoch + 1, stages, terms, ...(wanted === undefined ? {} : { wanted }) };
}

function isStage(stage: PlannedStage | undefined, units: PlannedStage["units"], nodeId: string | null): boolean {
  return stage !== undefined && formatUnits(stage.units) === formatUnits(units) && stage.nodeId === nodeId;
}

function isWhole(stages: readonly PlannedStage[]): boolean {
  return stages.every(({ nodeId }) => nodeId !== null);
}

/** Stages that want holders: those of the plan, of the one that it could not follow, or of the start. */
function formerStages(state: ClusterState): readonly PlannedStage[] {
  const { plan, config } = state;
  if (plan === null) return config.split.map((units) => ({ units, nodeId: null }));
  return vacate(state, plan.fallback ?? plan.stages);
}

/** The stages without holders that are gone, or go. */
function vacate(state: ClusterState, stages: readonly PlannedStage[]): readonly PlannedStage[] {
  return stages.map((stage): PlannedStage => {
    const node = stage.nodeId === null ? undefined : state.nodes.get(stage.nodeId);
    if (node !== undefined && node.phase !== "lost" && node.phase !== "draining") return stage;
    const { units } = stage;
    const isPinned = state.config.threads === 0 && state.sessions.size > 0;
    const threads = stage.threads ?? (isPinned ? node?.capabilities.threads : undefined);
    return { units, nodeId: null, ...(threads === undefined || threads === 0 ? {} : { threads }) };
  });
}

function fill(state: ClusterState, stages: readonly PlannedStage[]): readonly PlannedStage[] {
  const spare = listSpare(state, stages);
  const returned = stages.map((stage): PlannedStage => {
    const text = formatUnits(stage.units);
    const isFormer = (node: NodeState): boolean => node.id === state.config.formerHolders?.get(text);
    return { ...stage, nodeId: stage.nodeId ?? take(spare, text, isFormer) };
  });
  return returned.map((stage) => ({
    ...stage,
    nodeId: stage.nodeId ?? take(spare, formatUnits(stage.units), () => true),
  }));
}

/** Workers that hold none of these stages. */
function listSpare({ nodes }: ClusterState, stages: readonly PlannedStage[]): NodeState[] {
  const holders = new Set(stages.map(({ nodeId }) => nodeId));
  return [...nodes.values()]
    .filter((node) => node.phase !== "lost" && node.phase !== "draining" && !holders.has(node.id))
    .sort((a, b) => a.joinOrder - b.joinOrder);
}

function take(spare: NodeState[], units: string, fits: (node: NodeState) => boolean): string | null {
  const index = spare.findIndex((node) => !node.failedUnits.includes(units) && fits(node));
  const [node] = index < 0 ? [] : spare.splice(index, 1);
  return node?.id ?? null;
}
