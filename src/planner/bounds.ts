import type { Deadline } from "./deadline.ts";
import type { Instance } from "./instance.ts";
import type { Kinds } from "./kinds.ts";
import { listCounts, reachEnds } from "./reach.ts";

const HALVINGS = 20;
/** Rounds in which weights move to the units that are hard to cover: fewer where a round is dear. */
const ROUNDS_MAX = 300;
const WORK_PER_BOUND = 6e7;
/** How fast weights move; slow and steady comes closest to the linear program's bound. */
const STEP = 0.25;
const STEP_DECAY = 0.01;
const MOMENTUM = 0.8;

/**
 * A period that no plan of one pipeline can beat. At a limit each node covers at most its best run of units; if, for some
 * weights of the units, all nodes together cover less than the total weight, the limit is impossible. The weights are
 * found by moving them to units that the best runs leave out: any weights give a true bound, good ones a close one.
 *
 * @param highMs a period that is possible, or the largest of interest
 */
export function boundPeriod(kinds: Kinds, lowMs: number, highMs: number, maxNodes: number, deadline: Deadline): number {
  const low = Math.max(lowMs, boundByUnits(kinds));
  if (!(low < highMs)) return Math.min(low, highMs);
  let impossible = low;
  let open = Number.isFinite(highMs) ? highMs : largestStageMs(kinds);
  for (let step = 0; step < HALVINGS && open - impossible > 1e-5 * open && !deadline.passed; step++) {
    const middle = impossible + (open - impossible) / 2;
    if (weighUnits(kinds, middle, maxNodes).impossible) impossible = middle;
    else open = middle;
  }
  return impossible;
}

/** Some node has to serve each unit; and unless one node serves all, some hop is used. */
function boundByUnits(kinds: Kinds): number {
  const { instance } = kinds;
  let alone = Number.POSITIVE_INFINITY;
  const least = new Float64Array(instance.units).fill(Number.POSITIVE_INFINITY);
  for (let kind = 0; kind < kinds.size; kind++) {
    const node = kinds.node(kind);
    if (instance.fits(node, 0, instance.units)) alone = Math.min(alone, instance.stageMs(node, 0, instance.units));
    for (const [unit, ms] of listLeastTimes(instance, node).entries()) {
      least[unit] = Math.min(least[unit] as number, ms);
    }
  }
  const bound = least.reduce((most, ms) => Math.max(most, ms), instance.leastOccupyMs);
  return Math.min(alone, bound);
}

/** Of each unit, the least time of any stage of `node` that holds it; infinite where it can't hold it. */
export function listLeastTimes(instance: Instance, node: number): Float64Array {
  const { units } = instance;
  const { tableMs } = instance.node(node);
  const times = new Float64Array(units).fill(Number.POSITIVE_INFINITY);
  if (tableMs !== null) return times.fill(tableMs.slice(1).reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY));
  for (let unit = 0; unit < units; unit++) {
    if (instance.fits(node, unit, unit + 1)) times[unit] = instance.stageMs(node, unit, unit + 1);
  }
  return times;
}

function largestStageMs(kinds: Kinds): number {
  const { instance } = kinds;
  let largest = 0;
  for (let kind = 0; kind < kinds.size; kind++) {
    const { tableMs } = instance.node(kinds.node(kind));
    const values = tableMs === null ? [instance.stageMs(kinds.node(kind), 0, instance.units)] : [...tableMs];
    for (const ms of values) if (Number.isFinite(ms)) largest = Math.max(largest, ms);
  }
  return largest;
}

/** Weights of units that show how hard each is to cover within a limit. */
export interface UnitWeights {
  /** No plan keeps the limit. */
  readonly impossible: boolean;
  /** Sum 1. */
  readonly weights: Float64Array;
  /** Of each kind, what its best run of units weighs. */
  readonly gains: Float64Array;
}

/** Looks for weights that prove `limitMs` impossible; ends with the best found. */
export function weighUnits(kinds: Kinds, limitMs: number, maxNodes: number = Number.POSITIVE_INFINITY): UnitWeights {
  const { instance } = kinds;
  const { units } = instance;
  const runs = kinds.members.map((_, kind) => listRuns(instance, kinds.node(kind), limitMs));
  const rounds = Math.max(1, Math.min(ROUNDS_MAX, Math.floor(WORK_PER_BOUND / (kinds.size * units * HALVINGS))));
  const sums = new Float64Array(units + 1);
  const logs = new Float64Array(units);
  const smooth = new Float64Array(units);
  let best: { weights: Float64Array; gains: Float64Array; sum: number } = {
    weights: new Float64Array(units).fill(1 / units),
    gains: new Float64Array(kinds.size),
    sum: Number.POSITIVE_INFINITY,
  };
  for (let round = 0; round < rounds; round++) {
    const weights = normalize(logs);
    for (let unit = 0; unit < units; unit++) sums[unit + 1] = (sums[unit] as number) + (weights[unit] as number);
    const gains = new Float64Array(kinds.size);
    const covered = new Float64Array(units);
    for (const [kind, run] of runs.entries()) {
      const at = findBestRun(run, sums);
      if (at === -1) continue;
      const [first, end] = [run.firsts[at] as number, run.ends[at] as number];
      gains[kind] = (sums[end] as number) - (sums[first] as number);
      const count = kinds.count(kind);
      for (let unit = first; unit < end; unit++) covered[unit] = (covered[unit] as number) + count;
    }
    const sum = sumLargest(kinds, gains, Math.min(units, maxNodes));
    if (sum < best.sum) best = { weights, gains, sum };
    if (sum < 1 - 1e-9) return { impossible: true, weights, gains };
    let mean = 0;
    for (let unit = 0; unit < units; unit++) {
      const before = round === 0 ? (covered[unit] as number) : (smooth[unit] as number);
      smooth[unit] = MOMENTUM * before + (1 - MOMENTUM) * (covered[unit] as number);
      mean += (smooth[unit] as number) / units;
    }
    const step = STEP / (1 + round * STEP_DECAY) / mean;
    for (let unit = 0; unit < units; unit++) {
      logs[unit] = (logs[unit] as number) + step * (mean - (smooth[unit] as number));
    }
  }
  return { impossible: false, weights: best.weights, gains: best.gains };
}

/** Index of the run that weighs most; -1 without one. */
function findBestRun({ firsts, ends }: Runs, sums: Float64Array): number {
  let best = 0;
  let at = -1;
  for (let i = 0; i < firsts.length; i++) {
    const gain = (sums[ends[i] as number] as number) - (sums[firsts[i] as number] as number);
    if (gain > best) {
      best = gain;
      at = i;
    }
  }
  return at;
}

/** No plan has more stages than units, nor than nodes allowed. */
function sumLargest(kinds: Kinds, gains: Float64Array, most: number): number {
  const order = [...gains.keys()].sort((a, b) => (gains[b] as number) - (gains[a] as number));
  let left = most;
  let sum = 0;
  for (const kind of order) {
    const count = Math.min(left, kinds.count(kind));
    sum += count * (gains[kind] as number);
    left -= count;
    if (left === 0) break;
  }
  return sum;
}

function normalize(logs: Float64Array): Float64Array {
  const highest = logs.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const weights = logs.map((log) => Math.exp(log - highest));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

interface Runs {
  readonly firsts: Int16Array;
  readonly ends: Int16Array;
}

/** Runs of units that a node may serve and that lie in no longer one. */
function listRuns(instance: Instance, node: number, limitMs: number): Runs {
  const { units } = instance;
  const firsts: number[] = [];
  const ends: number[] = [];
  const counts = instance.node(node).tableMs === null ? null : listCounts(instance, node, limitMs);
  if (counts?.length === 0) return { firsts: new Int16Array(0), ends: new Int16Array(0) };
  const reach = reachEnds(instance, node, limitMs);
  let furthest = 0;
  for (let first = 0; first < units; first++) {
    const end = reach[first] as number;
    if (end <= first || end <= furthest) continue;
    furthest = end;
    firsts.push(first);
    ends.push(end);
  }
  return { firsts: Int16Array.from(firsts), ends: Int16Array.from(ends) };
}
