import type { Kinds } from "../kinds.ts";
import { reachEnds, reachStarts } from "../reach.ts";
import { Odometer, openStateSpace } from "../states/state-space.ts";

const STATES_MAX = 2 ** 20;

/** What a node of a kind would have to hold so that there is a plan. */
export interface Gap {
  readonly kind: number;
  readonly bytes: number;
}

/**
 * For each kind the least memory of one of its nodes that makes a plan possible, whatever the time: the others serve what
 * they can from the front and from the back, in every division; what is left between is the node's.
 *
 * @returns null when there are too many states, or tables; without kinds that no memory would help
 */
export function findGaps(kinds: Kinds): Gap[] | null {
  const { instance, size } = kinds;
  const { units } = instance;
  const space = openStateSpace(kinds, STATES_MAX);
  if (space === null || instance.nodes.some((node) => node.tableMs !== null)) return null;
  const prefixes = new Int16Array(space.size);
  const suffixes = new Int16Array(space.size).fill(units);
  const ends = kinds.members.map((_, kind) => reachEnds(instance, kinds.node(kind), Number.POSITIVE_INFINITY));
  const starts = kinds.members.map((_, kind) => reachStarts(instance, kinds.node(kind), Number.POSITIVE_INFINITY));
  const least = new Float64Array(size).fill(Number.POSITIVE_INFINITY);
  const forward = new Odometer(space);
  for (let state = 0; state < space.size; state++, forward.advance()) {
    for (let kind = 0; kind < size; kind++) {
      if ((forward.digits[kind] as number) >= (space.counts[kind] as number)) continue;
      const to = state + (space.strides[kind] as number);
      const end = (ends[kind] as Int16Array)[prefixes[state] as number] as number;
      const start = (starts[kind] as Int16Array)[suffixes[state] as number] as number;
      prefixes[to] = Math.max(prefixes[to] as number, end);
      suffixes[to] = Math.min(suffixes[to] as number, start);
    }
  }
  const all = space.size - 1;
  const odometer = new Odometer(space);
  for (let state = 0; state < space.size; state++, odometer.advance()) {
    for (let kind = 0; kind < size; kind++) {
      if ((odometer.digits[kind] as number) >= (space.counts[kind] as number)) continue;
      const first = prefixes[state] as number;
      const end = suffixes[all - state - (space.strides[kind] as number)] as number;
      if (end <= first || end - first > instance.node(kinds.node(kind)).maxUnits) continue;
      least[kind] = Math.min(least[kind] as number, instance.stageBytes(first, end));
    }
  }
  return [...least.entries()].filter(([, bytes]) => Number.isFinite(bytes)).map(([kind, bytes]) => ({ kind, bytes }));
}
