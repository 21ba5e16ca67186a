import type { NodeMeaning } from "./classify.ts";
import type { GraphNode } from "./graph.ts";
import type { HookLevel } from "./levels.ts";
import type { SegmentTiming } from "./observation.ts";
import { groupOf, type RoleGroup } from "./roles.ts";

/** A stretch of nodes that is timed as one. */
export interface PlannedSegment extends Pick<SegmentTiming, "unit" | "role" | "nodes"> {
  /** Ordinal of its last node: where the engine is asked to stop. */
  readonly end: number;
}

/**
 * Where to stop in a graph.
 *
 * - `layer`: at the end of each unit.
 * - `role`: at the end of each stretch of nodes of one unit and group; a residual addition goes with what precedes it.
 * - `node`: at each node that computes something, except where the engine computes two as one (a norm and the
 *   multiplication by its weights): separating those would be another computation than the one that is measured.
 * - null: only at `extra`.
 *
 * @param extra ordinals of nodes to stop at whatever the level; these may be views
 */
export function planSegments(
  nodes: readonly GraphNode[],
  meanings: readonly NodeMeaning[],
  level: HookLevel | null,
  extra: readonly number[],
): readonly PlannedSegment[] {
  const computing = nodes.filter(({ isView }) => !isView);
  const groups = nameGroups(computing, meanings);
  const ends = new Set(extra);
  for (const [i, node] of computing.entries()) {
    const next = computing[i + 1];
    if (next === undefined) {
      if (level !== null) ends.add(node.ordinal);
    } else if (level === "node") {
      if (!isFused(node, next)) ends.add(node.ordinal);
    } else if (level !== null) {
      const sameUnit = meanings[node.ordinal]?.unit === meanings[next.ordinal]?.unit;
      if (!sameUnit || (level === "role" && groups.get(node.ordinal) !== groups.get(next.ordinal)))
        ends.add(node.ordinal);
    }
  }
  let from = 0;
  return [...ends]
    .sort((a, b) => a - b)
    .map((end) => {
      const inside = computing.filter(({ ordinal }) => ordinal >= from && ordinal <= end);
      const last = inside.at(-1)?.ordinal ?? end;
      from = end + 1;
      const { unit, role } = meanings[last] ?? { unit: 0, role: "other" };
      const label =
        level === "node" ? role : level === "layer" ? "total" : (groups.get(last) ?? groupOf(role) ?? "other");
      return { end, unit, role: label, nodes: inside.length };
    });
}

/**
 * The group of each node that computes. A residual addition takes that of the node before it in its unit, or else of the
 * one behind it; so does what a later stage does to the hidden state that came in.
 */
function nameGroups(computing: readonly GraphNode[], meanings: readonly NodeMeaning[]): ReadonlyMap<number, RoleGroup> {
  const groups = new Map<number, RoleGroup>();
  const waiting: number[] = [];
  let before: { unit: number; group: RoleGroup } | undefined;
  for (const { ordinal } of computing) {
    const { unit, role } = meanings[ordinal] ?? { unit: 0, role: "other" as const };
    const isLate = unit > 0 && role.startsWith("embedding.");
    const group = isLate ? undefined : (groupOf(role) ?? (before?.unit === unit ? before.group : undefined));
    if (group === undefined) {
      waiting.push(ordinal);
      continue;
    }
    for (const each of waiting.splice(0)) groups.set(each, group);
    groups.set(ordinal, group);
    before = { unit, group };
  }
  for (const each of waiting) groups.set(each, "other");
  return groups;
}

/** The engine computes both in one pass when they lie in one stretch. */
function isFused(node: GraphNode, next: GraphNode): boolean {
  return node.op === "RMS_NORM" && next.op === "MUL" && next.sources.some(({ ordinal }) => ordinal === node.ordinal);
}
