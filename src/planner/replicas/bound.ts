import { listLeastTimes } from "../bounds.ts";
import type { Instance } from "../instance.ts";
import type { Kinds } from "../kinds.ts";
import { reachEnds } from "../reach.ts";

const HALVINGS = 40;
const WORK_MAX = 4e8;

/**
 * A period that no plan can beat, however many nodes serve a stage and however many pipelines there are. Work per step has
 * to be done by someone: a node with units [a,b) takes part in at most 1/time of the steps, and in no more than there are.
 */
export function boundReplicatedPeriod(kinds: Kinds): number {
  const bound = boundByHolders(kinds);
  const { units } = kinds.instance;
  const stages = (kinds.size * units * units) / 2;
  if (stages * HALVINGS > WORK_MAX) return bound;
  const runs = kinds.members.map((_, kind) => bestRates(kinds.instance, kinds.node(kind)));
  let possible = Number.POSITIVE_INFINITY;
  let impossible = bound;
  const isImpossible = (periodMs: number): boolean => {
    let covered = 0;
    for (const [kind, run] of runs.entries()) {
      let best = 0;
      for (let count = 1; count <= units; count++) {
        best = Math.max(best, count * Math.min(periodMs / (run[count] as number), 1));
      }
      covered += best * (kinds.members[kind] as readonly number[]).length;
    }
    return covered < units * (1 - 1e-9);
  };
  if (impossible === 0) impossible = 1e-12;
  while (possible === Number.POSITIVE_INFINITY) {
    if (!isImpossible(impossible)) return impossible === 1e-12 ? 0 : bound;
    if (!isImpossible(impossible * 4) || impossible > 1e18) possible = impossible * 4;
    else impossible *= 4;
  }
  for (let step = 0; step < HALVINGS; step++) {
    const middle = impossible + (possible - impossible) / 2;
    if (isImpossible(middle)) impossible = middle;
    else possible = middle;
  }
  return Math.max(bound, impossible);
}

/** The least time of `node` for each number of units, wherever they are; infinite where none fit. */
function bestRates(instance: Instance, node: number): Float64Array {
  const { units } = instance;
  const times = new Float64Array(units + 1).fill(Number.POSITIVE_INFINITY);
  const reach = reachEnds(instance, node, Number.POSITIVE_INFINITY);
  for (let first = 0; first < units; first++) {
    for (let end = first + 1; end <= (reach[first] as number); end++) {
      times[end - first] = Math.min(times[end - first] as number, instance.stageMs(node, first, end));
    }
  }
  return times;
}

/** At most R nodes hold a unit: together they can't be quicker than the R quickest. */
function boundByHolders(kinds: Kinds): number {
  const { instance } = kinds;
  const times = kinds.members.map((_, kind) => listLeastTimes(instance, kinds.node(kind)));
  let bound = 0;
  for (let unit = 0; unit < instance.units; unit++) {
    const rates: number[] = [];
    for (const [kind, ofKind] of times.entries()) {
      const copies = Math.min(instance.replicas, (kinds.members[kind] as readonly number[]).length);
      for (let copy = 0; copy < copies; copy++) rates.push(1 / (ofKind[unit] as number));
    }
    const sum = rates
      .sort((a, b) => b - a)
      .slice(0, instance.replicas)
      .reduce((a, b) => a + b, 0);
    bound = Math.max(bound, 1 / sum);
  }
  return bound;
}
