import { sum } from "../../common/index.ts";
import type { UnitRange } from "../../engine/index.ts";
import { formatUnits } from "./check-plan.ts";
import type { ClusterState, NodeState, PlannedStage, SpreadRules } from "./types.ts";

interface Holding {
  readonly node: NodeState;
  readonly stage: PlannedStage;
}

/**
 * Gives the units of vacant stages to the workers beside them, so that nobody else loads anything; where those have no
 * room, all units are given out anew among the holders.
 *
 * @returns null where nobody has room, nobody is left, or nothing is known of the model
 */
export function spreadStages(state: ClusterState, stages: readonly PlannedStage[]): readonly PlannedStage[] | null {
  const rules = state.config.spread;
  const held = stages.flatMap((stage): readonly Holding[] => {
    const node = stage.nodeId === null ? undefined : state.nodes.get(stage.nodeId);
    return node === undefined ? [] : [{ node, stage }];
  });
  const end = stages.at(-1)?.units.end ?? 0;
  if (rules === undefined || held.length === 0 || end !== rules.unitBytes.length) return null;
  return spreadToNeighbours(held, end, rules) ?? spreadAnew(held, end, rules);
}

function spreadToNeighbours(held: readonly Holding[], end: number, rules: SpreadRules): readonly PlannedStage[] | null {
  const ranges = held.map(({ stage }) => ({ ...stage.units }));
  for (let right = 0; right <= held.length; right++) {
    const from = ranges[right - 1]?.end ?? 0;
    const to = ranges[right]?.first ?? end;
    const cut = from === to ? from : chooseCut(held, ranges, right, rules);
    if (cut === null) return null;
    const before = ranges[right - 1];
    const behind = ranges[right];
    if (before !== undefined) before.end = cut;
    if (behind !== undefined) behind.first = cut;
  }
  return placeRanges(held, ranges);
}

/** Where the gap before stage `right` is cut: so that the heavier of the two beside it is as light as can be. */
function chooseCut(
  held: readonly Holding[],
  ranges: readonly UnitRange[],
  right: number,
  rules: SpreadRules,
): number | null {
  const before = ranges[right - 1];
  const behind = ranges[right];
  const from = before?.end ?? behind?.first ?? 0;
  const to = behind?.first ?? rules.unitBytes.length;
  const gapFrom = before === undefined ? 0 : from;
  const cuts = [gapFrom, ...rules.cuts.filter((cut) => cut > gapFrom && cut < to), to].filter(
    (cut) => (before !== undefined || cut === gapFrom) && (behind !== undefined || cut === to),
  );
  let best: { readonly cut: number; readonly bytes: number } | null = null;
  for (const cut of cuts) {
    const left = before === undefined ? null : { first: before.first, end: cut };
    const rest = behind === undefined ? null : { first: cut, end: behind.end };
    if (!fits(held[right - 1], left, rules) || !fits(held[right], rest, rules)) continue;
    const bytes = Math.max(weigh(left, rules), weigh(rest, rules));
    if (best === null || bytes < best.bytes) best = { cut, bytes };
  }
  return best?.cut ?? null;
}

/** The heaviest of all as light as can be, each within its memory. */
function spreadAnew(held: readonly Holding[], end: number, rules: SpreadRules): readonly PlannedStage[] | null {
  const cuts = [0, ...rules.cuts.filter((cut) => cut > 0 && cut < end), end];
  // By cut: the ranges of the stages so far that end there, and the heaviest of them.
  let reached = new Map<number, { readonly ranges: readonly UnitRange[]; readonly bytes: number }>([
    [0, { ranges: [], bytes: 0 }],
  ]);
  for (const holding of held) {
    const next: typeof reached = new Map();
    for (const [first, so] of reached) {
      for (const cut of cuts) {
        if (cut <= first) continue;
        const range = { first, end: cut };
        if (!fits(holding, range, rules)) continue;
        const bytes = Math.max(so.bytes, weigh(range, rules));
        const known = next.get(cut);
        if (known === undefined || bytes < known.bytes) next.set(cut, { ranges: [...so.ranges, range], bytes });
      }
    }
    reached = next;
  }
  const whole = reached.get(end);
  return whole === undefined ? null : placeRanges(held, whole.ranges);
}

function placeRanges(held: readonly Holding[], ranges: readonly UnitRange[]): readonly PlannedStage[] {
  return held.map(({ stage }, index) => ({ ...stage, units: { ...(ranges[index] ?? stage.units) } }));
}

function fits(holding: Holding | undefined, range: UnitRange | null, rules: SpreadRules): boolean {
  if (range === null || holding === undefined) return true;
  const { node, stage } = holding;
  const text = formatUnits(range);
  if (text === formatUnits(stage.units)) return true;
  if (node.failedUnits.includes(text)) return false;
  const { memoryLimitBytes, memoryTotalBytes } = node.capabilities;
  const limitBytes = memoryLimitBytes > 0 ? memoryLimitBytes : memoryTotalBytes;
  return limitBytes === 0 || weigh(range, rules) <= limitBytes;
}

function weigh(range: UnitRange | null, { unitBytes }: SpreadRules): number {
  return range === null ? 0 : sum(unitBytes.slice(range.first, range.end));
}
