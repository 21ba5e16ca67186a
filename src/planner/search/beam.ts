import type { Deadline } from "../deadline.ts";
import type { UnitWeights } from "../bounds.ts";
import type { Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";
import { isAllowed, reachEnds } from "../reach.ts";

/** A beginning of a plan. */
interface Label {
  readonly prefix: number;
  readonly kind: number;
  readonly costMs: number;
  /** What the label is kept for: larger is better. */
  readonly rank: number;
  readonly before: Label | null;
}

export interface BeamOptions {
  readonly limitMs: number;
  readonly maxNodes: number;
  readonly width: number;
  readonly deadline: Deadline;
}

/** Kinds that are tried for the last stage: the last unit is often the heaviest, and few can serve it. */
const LAST_KINDS = 4;
const THRIFTS = [1, 8, 0];
/** With many kinds there is more to choose from and less time: fewer tries. */
const KINDS_MANY = 64;
/** Kinds that are looked at, for each unit: more stages than units there are never. */
const KINDS_PER_UNIT = 2;
const KINDS_MIN = 128;

/**
 * Looks for a plan within a limit of time for every stage and hop: beginnings grow by one stage at a time, the best few
 * are kept. What a stage wastes is what its node could have covered elsewhere, in the weights of `weighUnits`; the less
 * waste, the more is left for the rest. Finds plans quickly for any number of nodes; finding none proves nothing.
 */
export function searchPeriod(kinds: Kinds, unitWeights: UnitWeights, options: BeamOptions): readonly Piece[] | null {
  const { weights, gains } = unitWeights;
  const { units } = kinds.instance;
  const sums = new Float64Array(units + 1);
  for (const [unit, weight] of weights.entries()) sums[unit + 1] = (sums[unit] as number) + weight;
  const weigh = (first: number, end: number): number => (sums[end] as number) - (sums[first] as number);
  const useful = [...gains.keys()]
    .sort((a, b) => (gains[b] as number) - (gains[a] as number))
    .slice(0, Math.max(KINDS_MIN, KINDS_PER_UNIT * units));
  const ends = new Map(
    useful.map((kind) => {
      options.deadline.check();
      return [kind, reachEnds(kinds.instance, kinds.node(kind), options.limitMs)] as const;
    }),
  );
  const lasts = useful
    .map((kind) => ({ kind, first: (ends.get(kind) as Int16Array).indexOf(units) }))
    .filter(({ first }) => first < units)
    .sort((a, b) => wasteOf(a) - wasteOf(b))
    .slice(0, kinds.size > KINDS_MANY ? 2 : LAST_KINDS);
  function wasteOf({ kind, first }: { kind: number; first: number }): number {
    return (gains[kind] as number) - weigh(first, units);
  }
  for (const thrift of kinds.size > KINDS_MANY ? THRIFTS.slice(0, 2) : THRIFTS) {
    for (const last of lasts) {
      if (last.first === 0) return [{ node: last.kind, first: 0, end: units }];
      const found = growBeam(kinds, useful, last, options, (label, kind, offer) => {
        const first = label?.prefix ?? 0;
        const end = (ends.get(kind) as Int16Array)[first] as number;
        if (end === first) return;
        const gain = weigh(first, end);
        offer(end, 0, (label?.rank ?? 0) + gain - thrift * ((gains[kind] as number) - gain));
      });
      if (found !== null) return found;
    }
  }
  return null;
}

/**
 * Looks for a plan of little latency within a limit of the period. Half of what is kept is cheap (with what the rest costs
 * at least), half has come far.
 */
export function searchLatency(kinds: Kinds, completions: Float64Array, options: BeamOptions): readonly Piece[] | null {
  const { instance } = kinds;
  const { limitMs } = options;
  const ends = kinds.members.map((_, kind) => {
    options.deadline.check();
    return reachEnds(instance, kinds.node(kind), limitMs);
  });
  return growBeam(
    kinds,
    kinds.members.map((_, kind) => kind),
    null,
    options,
    (label, kind, offer) => {
      const first = label?.prefix ?? 0;
      const reach = (ends[kind] as Int16Array)[first] as number;
      const node = kinds.node(kind);
      const hopMs = label === null ? 0 : kinds.hopMs(label.kind, kind);
      const base = (label?.costMs ?? 0) + hopMs;
      const offers: { end: number; costMs: number; rank: number }[] = [];
      for (let end = first + 1; end <= reach; end++) {
        if (!isAllowed(instance, node, first, end, limitMs)) continue;
        const costMs = base + instance.stageMs(node, first, end);
        offers.push({ end, costMs, rank: -costMs - (completions[end] as number) });
      }
      if (offers.length === 0) return;
      const cheapest = offers.reduce((a, b) => (b.rank > a.rank ? b : a));
      for (const { end, costMs, rank } of new Set([cheapest, offers.at(-1) ?? cheapest])) offer(end, costMs, rank);
    },
  );
}

type Grow = (label: Label | null, kind: number, offer: (end: number, costMs: number, rank: number) => void) => void;

/** @param last kind that is kept for the end of the plan, and where it may begin at the earliest; null: the end is like the rest */
function growBeam(
  kinds: Kinds,
  useful: readonly number[],
  last: { readonly kind: number; readonly first: number } | null,
  { limitMs, maxNodes, width, deadline }: BeamOptions,
  grow: Grow,
): readonly Piece[] | null {
  const { units } = kinds.instance;
  const target = last?.first ?? units;
  let beam: (Label | null)[] = [null];
  let finished: Label | null = null;
  const most = Math.min(units, maxNodes - (last === null ? 0 : 1));
  for (let stages = 1; stages <= most && beam.length > 0; stages++) {
    const grown: Label[] = [];
    for (const label of beam) {
      deadline.check();
      const used = countUses(label);
      if (last !== null) used.set(last.kind, (used.get(last.kind) ?? 0) + 1);
      for (const kind of useful) {
        if ((used.get(kind) ?? 0) >= kinds.count(kind)) continue;
        if (label !== null && kinds.occupyMs(label.kind, kind) > limitMs) continue;
        grow(label, kind, (prefix, costMs, rank) => {
          grown.push({ prefix, kind, costMs, rank, before: label });
        });
      }
    }
    for (const label of grown) {
      if (label.prefix < target || (finished !== null && label.rank <= finished.rank)) continue;
      if (label.prefix < units && (last === null || kinds.occupyMs(label.kind, last.kind) > limitMs)) continue;
      finished = label;
    }
    // Within a limit any plan will do; for the least cost the others may still become better.
    if (finished !== null && last !== null) break;
    beam = keepBest(
      grown.filter((label) => label.prefix < units && (finished === null || label.rank > finished.rank)),
      width,
    );
  }
  if (finished === null) return null;
  const pieces = listPieces(finished);
  return finished.prefix < units && last !== null
    ? [...pieces, { node: last.kind, first: finished.prefix, end: units }]
    : pieces;
}

/** Half by rank, half by how far they came; of labels with the same prefix and last kind only the first. */
function keepBest(labels: Label[], width: number): Label[] {
  const kept = new Map<string, Label>();
  const take = (most: number): void => {
    for (const label of labels) {
      if (kept.size >= most) return;
      const key = `${label.prefix}/${label.kind}`;
      if (!kept.has(key)) kept.set(key, label);
    }
  };
  labels.sort((a, b) => b.rank - a.rank || b.prefix - a.prefix);
  take(Math.ceil(width / 2));
  labels.sort((a, b) => b.prefix - a.prefix || b.rank - a.rank);
  take(width);
  return [...kept.values()];
}

function countUses(label: Label | null): Map<number, number> {
  const used = new Map<number, number>();
  for (let at = label; at !== null; at = at.before) used.set(at.kind, (used.get(at.kind) ?? 0) + 1);
  return used;
}

function listPieces(label: Label): Piece[] {
  const pieces: Piece[] = [];
  for (let at: Label | null = label; at !== null; at = at.before) {
    pieces.unshift({ node: at.kind, first: at.before?.prefix ?? 0, end: at.prefix });
  }
  return pieces;
}
