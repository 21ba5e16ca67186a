import { NoodleError } from "../common/index.ts";
import type { NodeMeaning } from "./classify.ts";
import type { GraphNode, GraphStage } from "./graph.ts";
import { groupOf, type RoleGroup } from "./roles.ts";

const BLOCK_POINTS = ["in", "attn.out", "mlp.out", "out"] as const;
const PATTERN =
  /^(?:embed\.out|blocks\.(?:\*|0|[1-9][0-9]*)\.(?:in|attn\.out|mlp\.out|out)|head\.(?:norm\.out|logits))$/;

/** The forms that a point may have; N is a block of the undivided model, counted from 0. */
const FORMS = [
  "embed.out",
  ...BLOCK_POINTS.map((part) => `blocks.N.${part}`),
  "head.norm.out",
  "head.logits",
  ...BLOCK_POINTS.map((part) => `blocks.*.${part}`),
];

/**
 * The points of a stage, in the order in which a step reaches them.
 *
 * @param stage `stage.info` has what is read
 */
export function listHookPoints(stage: GraphStage): readonly string[] {
  const { units, unitCount } = stage;
  const points = units.first === 0 ? ["embed.out"] : [];
  for (let unit = Math.max(units.first, 1); unit < Math.min(units.end, unitCount - 1); unit++) {
    for (const part of BLOCK_POINTS) points.push(`blocks.${unit - 1}.${part}`);
  }
  return units.end === unitCount ? [...points, "head.norm.out", "head.logits"] : points;
}

/** @throws NoodleError `HOOK_POINT_UNKNOWN` for what is no point of any model */
export function checkHookPattern(pattern: string): void {
  if (PATTERN.test(pattern)) return;
  throw new NoodleError(
    "HOOK_POINT_UNKNOWN",
    `"${pattern}" is no hook point; the points are ${FORMS.join(", ")} (N from 0)`,
    { details: { point: pattern, legal: FORMS } },
  );
}

/**
 * The points that a pattern stands for.
 *
 * @param points those of a stage, as `listHookPoints` gives them
 * @throws NoodleError `HOOK_POINT_UNKNOWN` when it names none of them
 */
export function matchHookPoints(pattern: string, points: readonly string[]): readonly string[] {
  checkHookPattern(pattern);
  const matches = points.filter((point) => point === pattern || point.replace(/[0-9]+/, "*") === pattern);
  if (matches.length > 0) return matches;
  throw new NoodleError(
    "HOOK_POINT_UNKNOWN",
    `"${pattern}" names no point of this stage, which has ${points.join(", ")}`,
    { details: { point: pattern, legal: points } },
  );
}

/**
 * The node whose tensor each point shows, by its ordinal; -1 for the hidden state that came into the stage. Points that
 * the graph does not have (of an architecture that is not verified) are left out.
 */
export function findPointNodes(
  nodes: readonly GraphNode[],
  meanings: readonly NodeMeaning[],
  stage: GraphStage,
): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  const headUnit = stage.unitCount - 1;
  const lastOf = (matches: (meaning: NodeMeaning) => boolean): number | undefined =>
    nodes.findLast(({ ordinal, isView }) => !isView && meanings[ordinal] !== undefined && matches(meanings[ordinal]))
      ?.ordinal;
  const set = (point: string, ordinal: number | undefined): void => {
    if (ordinal !== undefined) found.set(point, ordinal);
  };
  const embedded = lastOf(({ unit, role }) => unit === 0 && role.startsWith("embedding."));
  let into = stage.units.first === 0 ? embedded : -1;
  set("embed.out", embedded);
  for (let unit = Math.max(stage.units.first, 1); unit < Math.min(stage.units.end, headUnit); unit++) {
    const point = `blocks.${unit - 1}`;
    const branches = findBranches(nodes, meanings, unit);
    set(`${point}.in`, into);
    set(
      `${point}.attn.out`,
      branches.get("attention") ?? lastOf((each) => each.unit === unit && each.role === "attention.output"),
    );
    set(`${point}.mlp.out`, branches.get("mlp"));
    into = lastOf((each) => each.unit === unit);
    set(`${point}.out`, into);
  }
  set(
    "head.norm.out",
    lastOf(({ unit, role }) => unit === headUnit && role === "norm"),
  );
  set(
    "head.logits",
    lastOf(({ unit, role }) => unit === headUnit && role === "head"),
  );
  return found;
}

/** What is added to the residual stream in a unit, by the group that made it. */
function findBranches(
  nodes: readonly GraphNode[],
  meanings: readonly NodeMeaning[],
  unit: number,
): ReadonlyMap<RoleGroup, number> {
  const branches = new Map<RoleGroup, number>();
  for (const node of nodes) {
    const meaning = meanings[node.ordinal];
    if (meaning?.unit !== unit || meaning.role !== "residual" || node.op !== "ADD") continue;
    const ordinals = node.sources.map(({ ordinal }) => ordinal).filter((ordinal) => ordinal >= 0);
    // Row selection makes both sides residual; the branch is the one that leads to something computed in this unit.
    for (const ordinal of ordinals) {
      const group = findMaker(ordinal, nodes, meanings, unit);
      if (group === "attention" || group === "mlp") branches.set(group, ordinal);
    }
  }
  return branches;
}

/** The group of the node that made a value, behind norms, scalings and row selections; null when the unit did not. */
function findMaker(
  from: number,
  nodes: readonly GraphNode[],
  meanings: readonly NodeMeaning[],
  unit: number,
): RoleGroup | null {
  let ordinal = from;
  for (;;) {
    const node = nodes[ordinal];
    const meaning = meanings[ordinal];
    if (node === undefined || meaning === undefined || meaning.unit !== unit) return null;
    const group = groupOf(meaning.role);
    if (group === null && node.op === "ADD") return null;
    if (group !== null && group !== "norm") return group;
    ordinal = node.sources.find((source) => source.ordinal >= 0)?.ordinal ?? -1;
  }
}
