import type { TraceStage, TraceStep } from "./schema.ts";

/** One stage's part of a step on the coordinator's clock, in whole ns. Each time is at or behind the one before it. */
export interface PlacedStage {
  readonly stage: number;
  readonly nodeId: string;
  /** The frame left the stage before it, or the coordinator. */
  readonly departNs: number;
  readonly arrivalNs: number;
  readonly computeStartNs: number;
  readonly computeEndNs: number;
  /** The frame for the next stage, or the token, is written. */
  readonly sentNs: number;
}

export interface PlacedStep {
  readonly sentNs: number;
  readonly receivedNs: number;
  readonly stages: readonly PlacedStage[];
  /**
   * Where the stages' times come from: `clock` from the nodes' clocks and their estimated offsets, `durations` from what
   * each stage spent, laid out between sending and receiving.
   */
  readonly basis: "clock" | "durations";
  /** How far the times of `basis: "clock"` may be off. */
  readonly uncertaintyNs: number | null;
  /** Time between sending and receiving that no stage and no hop accounts for. */
  readonly unaccountedNs: number;
}

/** Times of a stage before they have a place: each from the one before it. */
interface Block {
  arrivalNs: number;
  readonly startNs: number;
  readonly endNs: number;
  readonly sentNs: number;
}

/** Lays out a step between its sending and its receiving. Pure; keeps its promises for any numbers. */
export function placeStep(step: TraceStep, holders: readonly TraceStage[]): PlacedStep {
  const sentNs = Math.round(step.sent_mono_ns);
  const stages = step.stages.toSorted((a, b) => a.stage - b.stage);
  const spentNs = stages.reduce((sum, s) => sum + s.queue_ns + s.compute_ns + s.serialize_ns + (s.hop_ns ?? 0), 0);
  const receivedNs = Math.max(sentNs, Math.round(step.received_mono_ns));
  const backNs = stages[0]?.hop_ns ?? 0;
  const unaccountedNs = Math.max(0, Math.round(receivedNs - sentNs - spentNs - backNs));
  const byClock = placeByClock(step, holders, sentNs, receivedNs);
  if (byClock !== null) return { sentNs, receivedNs, ...byClock, basis: "clock", unaccountedNs };
  const placed = placeByDurations(step, sentNs, receivedNs);
  return { sentNs, receivedNs, stages: placed, basis: "durations", uncertaintyNs: null, unaccountedNs };
}

/**
 * What the nodes' own clocks say. A stage's times move together, by no more than it takes to stand behind the stage
 * before it and before the receiving; null where a stage told nothing, a clock is not known, or it cannot be so.
 */
function placeByClock(
  step: TraceStep,
  holders: readonly TraceStage[],
  sentNs: number,
  receivedNs: number,
): { readonly stages: readonly PlacedStage[]; readonly uncertaintyNs: number } | null {
  const stages = step.stages.toSorted((a, b) => a.stage - b.stage);
  if (stages.length === 0) return null;
  const blocks: Block[] = [];
  let uncertaintyNs = 0;
  for (const { stage, node_id } of stages) {
    const holder = holders.find((entry) => entry.stage === stage && entry.node_id === node_id);
    const seen = step.layers.find((entry) => entry.stage === stage && entry.node_id === node_id);
    if (seen === undefined || holder === undefined || holder.clock_offset_ns === null) return null;
    const offsetNs = holder.clock_offset_ns;
    const startNs = seen.compute_start_node_ns - seen.arrival_node_ns;
    const endNs = Math.max(startNs, seen.compute_end_node_ns - seen.arrival_node_ns);
    const leftNs = Math.max(endNs, seen.sent_node_ns - seen.arrival_node_ns);
    if (!(startNs >= 0)) return null;
    blocks.push({ arrivalNs: seen.arrival_node_ns - offsetNs, startNs, endNs, sentNs: leftNs });
    uncertaintyNs = Math.max(uncertaintyNs, holder.clock_uncertainty_ns ?? 0);
  }
  let earliestNs = sentNs;
  for (const block of blocks) {
    block.arrivalNs = Math.max(block.arrivalNs, earliestNs);
    earliestNs = block.arrivalNs + block.sentNs;
  }
  let latestNs = receivedNs;
  for (const block of blocks.toReversed()) {
    block.arrivalNs = Math.min(block.arrivalNs, latestNs - block.sentNs);
    latestNs = block.arrivalNs;
  }
  if (latestNs < sentNs) return null;
  let departNs = sentNs;
  const placed = stages.map(({ stage, node_id }, index) => {
    const block = blocks[index] as Block;
    const at = (ns: number): number => Math.round(block.arrivalNs + ns);
    const times = {
      stage,
      nodeId: node_id,
      departNs,
      arrivalNs: at(0),
      computeStartNs: at(block.startNs),
      computeEndNs: at(block.endNs),
      sentNs: at(block.sentNs),
    };
    departNs = times.sentNs;
    return times;
  });
  return { stages: placed, uncertaintyNs };
}

/**
 * The durations one behind another. What is left over lies behind each stage's computation in equal parts (handing over,
 * waiting for the next stage's credit); where there is too little room, the hops give way first: they are estimates.
 */
function placeByDurations(step: TraceStep, sentNs: number, receivedNs: number): readonly PlacedStage[] {
  const stages = step.stages.toSorted((a, b) => a.stage - b.stage);
  const roomNs = receivedNs - sentNs;
  const insideNs = stages.reduce((sum, stage) => sum + stage.queue_ns + stage.compute_ns + stage.serialize_ns, 0);
  const hopsNs = stages.reduce((sum, stage) => sum + (stage.hop_ns ?? 0), stages[0]?.hop_ns ?? 0);
  const insideScale = insideNs > roomNs ? roomNs / insideNs : 1;
  const forHopsNs = Math.max(0, roomNs - insideNs);
  const hopScale = hopsNs > forHopsNs ? forHopsNs / hopsNs : 1;
  const leftOverNs = Math.max(0, roomNs - insideNs - hopsNs) / Math.max(1, stages.length);
  let nowNs = sentNs;
  const upTo = (ns: number): number => Math.min(receivedNs, Math.round(ns));
  return stages.map((stage) => {
    const departNs = upTo(nowNs);
    const arrivalNs = nowNs + (stage.hop_ns ?? 0) * hopScale;
    const startNs = arrivalNs + stage.queue_ns * insideScale;
    const endNs = startNs + stage.compute_ns * insideScale;
    nowNs = endNs + leftOverNs + stage.serialize_ns * insideScale;
    return {
      stage: stage.stage,
      nodeId: stage.node_id,
      departNs,
      arrivalNs: upTo(arrivalNs),
      computeStartNs: upTo(startNs),
      computeEndNs: upTo(endNs),
      sentNs: upTo(nowNs),
    };
  });
}
