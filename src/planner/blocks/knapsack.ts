import type { Deadline } from "../deadline.ts";
import type { Instance, Piece } from "../instance.ts";
import { listBlockCounts, type Place, rangeOf } from "./shape.ts";

/** What a knapsack minimises: the sum over stages of their time and the hop before each but the first, or their number. */
export type BlockCost = "latency" | "nodes";

export interface BlockPlan {
  readonly pieces: readonly Piece[];
  readonly cost: number;
}

/** Choices are remembered for each node and each state: more than this takes too long. */
const CELLS_MAX = 2 ** 24;
const PLACES: readonly Place[] = ["first", "middle", "last"];

export function fitsBlockKnapsack(instance: Instance): boolean {
  return instance.nodes.length * 4 * (instance.units - 1) <= CELLS_MAX;
}

/**
 * The cheapest plan of at least two stages in which every stage takes at most `limitMs`, when blocks are alike and hops
 * equal (`hasAlikeBlocks`): nodes are offered one after the other, each takes a place and a number of blocks, or nothing.
 * Exact for any number of nodes; hops are not held against the limit.
 *
 * @returns null when there is none; the cost of the way back is not in it
 * @throws TimeIsUp
 */
export function packBlocks(instance: Instance, limitMs: number, cost: BlockCost, deadline: Deadline): BlockPlan | null {
  const blocks = instance.units - 2;
  const width = blocks + 1;
  const hopMs = instance.hopMs(0, 1);
  // State: which ends are taken (bit 0 the first, bit 1 the last stage) and how many blocks.
  let costs = new Float64Array(4 * width).fill(Number.POSITIVE_INFINITY);
  costs[0] = 0;
  const offered = listOffers(instance, limitMs, cost, deadline);
  const choices = new Int16Array(offered.length * 4 * width);
  for (const [turn, { node: index, countsOf }] of offered.entries()) {
    if (turn % 64 === 0) deadline.check();
    const next = Float64Array.from(costs);
    const chosen = choices.subarray(turn * 4 * width, (turn + 1) * 4 * width);
    for (const [code, place] of PLACES.entries()) {
      const counts = countsOf[code] ?? [];
      if (counts.length === 0) continue;
      const bit = place === "first" ? 1 : place === "last" ? 2 : 0;
      const price = (count: number): number => {
        if (cost === "nodes") return 1;
        const [first, end] = rangeOf(instance.units, place, count);
        return instance.stageMs(index, first, end) + (place === "first" ? 0 : hopMs);
      };
      const isRun = instance.node(index).tableMs === null;
      for (let ends = 0; ends < 4; ends++) {
        if (bit !== 0 && (ends & bit) === 0) continue;
        const from = costs.subarray((ends & ~bit) * width, ((ends & ~bit) + 1) * width);
        const to = next.subarray(ends * width, (ends + 1) * width);
        const marks = chosen.subarray(ends * width, (ends + 1) * width);
        if (isRun) relaxRun(from, to, marks, code, counts, price);
        else relaxTable(from, to, marks, code, counts, price);
      }
    }
    costs = next;
  }
  const total = costs[3 * width + blocks] as number;
  if (!Number.isFinite(total)) return null;
  return { pieces: readChoices(instance, offered, choices), cost: total };
}

/** A node with the numbers of blocks that it can take at each place. */
interface Offer {
  readonly node: number;
  readonly countsOf: readonly (readonly number[])[];
}

/**
 * The nodes that a plan may need. Where only their number counts, no plan needs more than the largest few at each place:
 * there are never more stages than units.
 */
function listOffers(instance: Instance, limitMs: number, cost: BlockCost, deadline: Deadline): Offer[] {
  const offers = instance.nodes.map((_, node) => {
    if (node % 64 === 0) deadline.check();
    return { node, countsOf: PLACES.map((place) => listBlockCounts(instance, node, place, limitMs)) };
  });
  const areRuns = instance.nodes.every((node) => node.tableMs === null);
  if (cost === "latency" || !areRuns || offers.length <= 3 * (instance.units + 1)) return offers;
  const kept = new Set<Offer>();
  for (const code of PLACES.keys()) {
    const largest = [...offers].sort((a, b) => (b.countsOf[code]?.length ?? 0) - (a.countsOf[code]?.length ?? 0));
    for (const offer of largest.slice(0, instance.units + 1)) kept.add(offer);
  }
  return offers.filter((offer) => kept.has(offer));
}

/** Counts that are a run, prices that are linear: a sliding window. */
function relaxRun(
  from: Float64Array,
  to: Float64Array,
  marks: Int16Array,
  code: number,
  counts: readonly number[],
  price: (count: number) => number,
): void {
  const least = counts[0] as number;
  const most = counts.at(-1) as number;
  const base = price(least);
  const slope = most > least ? price(least + 1) - base : 0;
  const queue = new Int16Array(from.length);
  let head = 0;
  let tail = 0;
  const weigh = (at: number): number => (from[at] as number) - slope * at;
  for (let total = least; total < from.length; total++) {
    const entering = total - least;
    if (Number.isFinite(from[entering])) {
      while (tail > head && weigh(queue[tail - 1] as number) >= weigh(entering)) tail--;
      queue[tail++] = entering;
    }
    while (tail > head && (queue[head] as number) < total - most) head++;
    if (tail === head) continue;
    const before = queue[head] as number;
    const value = (from[before] as number) + base + slope * (total - before - least);
    if (value < (to[total] as number)) {
      to[total] = value;
      marks[total] = 1 + code + 3 * (total - before);
    }
  }
}

function relaxTable(
  from: Float64Array,
  to: Float64Array,
  marks: Int16Array,
  code: number,
  counts: readonly number[],
  price: (count: number) => number,
): void {
  for (const count of counts) {
    const priceOfCount = price(count);
    for (let total = count; total < from.length; total++) {
      const value = (from[total - count] as number) + priceOfCount;
      if (value < (to[total] as number)) {
        to[total] = value;
        marks[total] = 1 + code + 3 * count;
      }
    }
  }
}

/** The stages in order: first, middle ones by node, last. */
function readChoices(instance: Instance, offered: readonly Offer[], choices: Int16Array): Piece[] {
  const width = instance.units - 1;
  const taken: { node: number; place: Place; blocks: number }[] = [];
  let ends = 3;
  let total = instance.units - 2;
  for (const [turn, { node }] of [...offered.entries()].reverse()) {
    const mark = choices[(turn * 4 + ends) * width + total] as number;
    if (mark === 0) continue;
    const place = PLACES[(mark - 1) % 3] as Place;
    const blocks = Math.floor((mark - 1) / 3);
    taken.unshift({ node, place, blocks });
    total -= blocks;
    if (place === "first") ends &= ~1;
    if (place === "last") ends &= ~2;
  }
  const ordered = PLACES.flatMap((place) => taken.filter((stage) => stage.place === place));
  let at = 0;
  return ordered.map(({ node, place, blocks }) => {
    const first = at;
    at += blocks + (place === "middle" ? 0 : 1);
    return { node, first, end: at };
  });
}
