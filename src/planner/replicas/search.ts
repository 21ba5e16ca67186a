import { type Deadline, TimeIsUp } from "../deadline.ts";
import type { Draft, DraftStage } from "../draft.ts";
import { measureDraft } from "../draft.ts";
import type { Instance } from "../instance.ts";
import { Kinds } from "../kinds.ts";
import { boundReplicatedPeriod } from "./bound.ts";
import { planWide } from "./wide.ts";
import type { SolveContext } from "../solve/context.ts";
import { solvePeriod } from "../solve/period.ts";

export interface Candidate {
  readonly draft: Draft;
  readonly periodMs: number;
  readonly latencyMs: number;
  readonly nodes: number;
}

/** Pipelines side by side that are tried at most. */
const PIPELINES_MAX = 8;

/**
 * Plans with several nodes for a stage or several pipelines, by search: a pipeline of fewer nodes whose slowest stages the
 * others join, and the nodes dealt out to several pipelines. No proof.
 */
export async function searchReplicas(context: SolveContext): Promise<Candidate[]> {
  const { kinds, deadline } = context;
  const { instance } = kinds;
  const { length } = instance.nodes;
  const found: Candidate[] = [];
  const counts = new Set([length, Math.ceil(length / 2), Math.ceil(length / instance.replicas)]);
  for (const maxNodes of counts) {
    if (deadline.passed) break;
    const { incumbent } = await solvePeriod({ ...context, solver: null }, Number.POSITIVE_INFINITY, maxNodes);
    if (incumbent.plan === null) continue;
    const stages = kinds
      .assignNodes(incumbent.plan)
      .map(({ node, first, end }) => ({ nodes: [node], first, end, pipeline: 0 }));
    found.push(valueOf(instance, stages), valueOf(instance, widen(instance, stages, deadline)));
  }
  const wide = tryWide(context, found);
  if (wide !== null) found.push(valueOf(instance, wide));
  const most = Math.min(instance.replicas, length, PIPELINES_MAX);
  for (let pipelines = 2; pipelines <= most && !deadline.passed; pipelines++) {
    const dealt = await dealOut(context, pipelines);
    if (dealt !== null) found.push(valueOf(instance, dealt));
  }
  return found;
}

function tryWide({ kinds, deadline }: SolveContext, found: readonly Candidate[]): Draft | null {
  const highMs = found.reduce((least, candidate) => Math.min(least, candidate.periodMs), Number.POSITIVE_INFINITY);
  if (!Number.isFinite(highMs)) return null;
  try {
    return planWide(kinds, highMs, boundReplicatedPeriod(kinds), deadline);
  } catch (thrown) {
    if (!(thrown instanceof TimeIsUp)) throw thrown;
    return null;
  }
}

/** Gives nodes without work to the slowest stage, as long as that helps. */
function widen(instance: Instance, start: Draft, deadline: Deadline): Draft {
  let draft = start;
  let { periodMs } = valueOf(instance, draft);
  const used = new Set(draft.flatMap((stage) => stage.nodes));
  const spare = new Set(instance.nodes.map((_, index) => index).filter((index) => !used.has(index)));
  while (!deadline.passed) {
    const { bottleneck } = measureDraft(instance, draft).value;
    const at = bottleneck.stage;
    const slowest = draft[at] as DraftStage;
    if (bottleneck.kind === "hop" || slowest.nodes.length >= instance.replicas) return draft;
    const neighbours = { before: draft[at - 1]?.nodes ?? [], after: draft[at + 1]?.nodes ?? [] };
    let best: { node: number; ms: number } | null = null;
    for (const node of spare) {
      if (!instance.fits(node, slowest.first, slowest.end)) continue;
      const ms = instance.stageMs(node, slowest.first, slowest.end);
      if (ms < (best?.ms ?? Number.POSITIVE_INFINITY) && areQuickHops(instance, node, neighbours, periodMs)) {
        best = { node, ms };
      }
    }
    if (best === null) return draft;
    const wider = draft.with(at, { ...slowest, nodes: [...slowest.nodes, best.node] });
    const value = valueOf(instance, wider);
    if (value.periodMs > periodMs) return draft;
    spare.delete(best.node);
    draft = wider;
    periodMs = value.periodMs;
  }
  return draft;
}

function areQuickHops(
  instance: Instance,
  node: number,
  { before, after }: { readonly before: readonly number[]; readonly after: readonly number[] },
  limitMs: number,
): boolean {
  return (
    before.every((other) => instance.occupyMs(other, node) < limitMs) &&
    after.every((other) => instance.occupyMs(node, other) < limitMs)
  );
}

/** Deals the nodes out in turns, the quickest first, and plans each hand; null when no hand makes a pipeline. */
async function dealOut(context: SolveContext, pipelines: number): Promise<Draft | null> {
  const { instance } = context.kinds;
  const order = instance.nodes
    .map((_, index) => ({ index, ms: speedOf(instance, index) }))
    .sort((a, b) => a.ms - b.ms || a.index - b.index);
  const hands: number[][] = Array.from({ length: pipelines }, () => []);
  for (const [turn, { index }] of order.entries()) {
    const round = Math.floor(turn / pipelines);
    const place = turn % pipelines;
    (hands[round % 2 === 0 ? place : pipelines - 1 - place] as number[]).push(index);
  }
  const stages: DraftStage[] = [];
  let made = 0;
  for (const hand of hands) {
    const kinds = new Kinds(instance, groupHand(context.kinds, hand));
    const { incumbent } = await solvePeriod({ ...context, kinds, solver: null }, Number.POSITIVE_INFINITY, hand.length);
    if (incumbent.plan === null) continue;
    const pipeline = made++;
    for (const { node, first, end } of kinds.assignNodes(incumbent.plan)) {
      stages.push({ nodes: [node], first, end, pipeline });
    }
  }
  return made === 0 ? null : stages;
}

/** The kinds of some of the nodes. */
function groupHand(kinds: Kinds, hand: readonly number[]): number[][] {
  return kinds.members.map((nodes) => nodes.filter((node) => hand.includes(node))).filter((nodes) => nodes.length > 0);
}

/** Time of a unit, on average. */
function speedOf(instance: Instance, index: number): number {
  const { prefixMs, tableMs } = instance.node(index);
  if (prefixMs !== null) return (prefixMs[instance.units] as number) / instance.units;
  return (tableMs ?? new Float64Array(0)).reduce(
    (least, ms, count) => (count > 0 ? Math.min(least, ms / count) : least),
    Number.POSITIVE_INFINITY,
  );
}

function valueOf(instance: Instance, draft: Draft): Candidate {
  const { figures } = measureDraft(instance, draft);
  return { draft, periodMs: figures.period_ms, latencyMs: figures.latency_ms, nodes: figures.nodes };
}
