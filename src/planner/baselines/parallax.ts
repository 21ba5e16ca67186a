import type { DraftStage } from "../draft.ts";
import type { Instance } from "../instance.ts";
import { type Baseline, listMemories, meanUnitMs, NEEDS_MEMORY, roundShares } from "./baseline.ts";

/** Share of a node's memory that Parallax gives to weights. */
const WEIGHT_SHARE = 0.5;

/** Parallax: pipelines that make (pipelines^2 / stages) largest, blocks poured into their nodes by speed. */
export const parallax: Baseline = {
  name: "parallax",
  rule: "half the memory for weights, blocks poured in by speed, pipelines by k^2/stages (Parallax)",
  plan: (instance) => {
    if (listMemories(instance) === null && !hasUnitLimits(instance)) return NEEDS_MEMORY;
    const order = [...instance.nodes.keys()].sort(
      (a, b) => capacityOf(instance, b, 0) - capacityOf(instance, a, 0) || a - b,
    );
    let best: { hands: number[][]; score: number } | null = null;
    for (let pipelines = 1; pipelines <= Math.min(instance.replicas, order.length); pipelines++) {
      const hands = deal(instance, order, pipelines);
      if (hands === null) break;
      const score = pipelines ** 2 / hands.reduce((sum, hand) => sum + hand.length, 0);
      if (best === null || score > best.score) best = { hands, score };
    }
    if (best === null) return { reason: "half of the memory does not hold the weights" };
    const draft: DraftStage[] = [];
    for (const [pipeline, hand] of best.hands.entries()) {
      const stages = pour(instance, hand);
      if (stages === null) return { reason: "half of the memory does not hold the weights" };
      draft.push(...stages.map((stage) => ({ ...stage, pipeline })));
    }
    return { draft };
  },
};

function hasUnitLimits(instance: Instance): boolean {
  return instance.problem.nodes.every((node) => node.memory_bytes !== undefined || node.max_units !== undefined);
}

/** The least loaded pipeline gets the next largest node, until each holds all blocks; null when they do not. */
function deal(instance: Instance, order: readonly number[], pipelines: number): number[][] | null {
  const blocks = countBlocks(instance);
  const hands: number[][] = Array.from({ length: pipelines }, () => []);
  const held = hands.map(() => 0);
  for (const node of order) {
    const least = Math.min(...held);
    if (least >= blocks && hands.every((hand) => hand.length > 0)) break;
    const at = held.indexOf(least);
    hands[at]?.push(node);
    held[at] = least + capacityOf(instance, node, hands[at]?.length === 1 ? endBytes(instance, 0) : 0);
  }
  return Math.min(...held) >= blocks ? hands : null;
}

/** Water-filling: every node takes blocks in proportion to its speed, up to what it holds. */
function pour(instance: Instance, hand: readonly number[]): Omit<DraftStage, "pipeline">[] | null {
  const blocks = countBlocks(instance);
  const limits = hand.map((node, place) => {
    const first = place === 0 ? endBytes(instance, 0) : 0;
    const last = place === hand.length - 1 ? endBytes(instance, instance.units - 1) : 0;
    return capacityOf(instance, node, first + last);
  });
  if (limits.reduce((a, b) => a + b, 0) < blocks) return null;
  const speeds = hand.map((node) => 1 / Math.max(meanUnitMs(instance, node), 1e-12));
  const sumAt = (level: number): number =>
    speeds.reduce((sum, speed, place) => sum + Math.min(limits[place] ?? 0, level * speed), 0);
  let [low, high] = [0, 1];
  while (sumAt(high) < blocks && high < 1e300) high *= 2;
  for (let step = 0; step < 200; step++) {
    const middle = (low + high) / 2;
    if (sumAt(middle) < blocks) low = middle;
    else high = middle;
  }
  const shares = speeds.map((speed, place) => Math.min(limits[place] ?? 0, high * speed));
  const counts = roundShares(shares, blocks, limits);
  const hasEnds = blocks < instance.units;
  let at = 0;
  return hand.flatMap((node, place) => {
    const ends = hasEnds ? Number(place === 0) + Number(place === hand.length - 1) : 0;
    const first = at;
    at += (counts[place] ?? 0) + ends;
    return at > first ? [{ nodes: [node], first, end: at }] : [];
  });
}

/** Units between embedding and head, where there are any. */
function countBlocks({ units }: Instance): number {
  return units > 2 ? units - 2 : units;
}

function endBytes({ units, problem }: Instance, unit: number): number {
  return units > 2 ? (problem.unit_bytes?.[unit] ?? 0) : 0;
}

/** Blocks of average size that the node's share of memory holds beside `reservedBytes`. */
function capacityOf(instance: Instance, node: number, reservedBytes: number): number {
  const { units, problem } = instance;
  const { memoryBytes, maxUnits } = instance.node(node);
  const bytes = problem.unit_bytes ?? [];
  const middle = units > 2 ? bytes.slice(1, -1) : bytes;
  const blockBytes = middle.reduce((a, b) => a + b, 0) / Math.max(1, middle.length);
  if (blockBytes === 0 || memoryBytes === Number.POSITIVE_INFINITY) return maxUnits;
  return Math.min(maxUnits, Math.max(0, Math.floor((WEIGHT_SHARE * memoryBytes - reservedBytes) / blockBytes)));
}
