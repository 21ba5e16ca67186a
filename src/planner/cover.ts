import { listCandidates } from "./candidates.ts";
import type { Deadline } from "./deadline.ts";
import type { Incumbent } from "./incumbent.ts";
import type { Piece } from "./instance.ts";
import type { Kinds } from "./kinds.ts";
import { reachEnds } from "./reach.ts";
import { improvePeriod } from "./search/improve.ts";
import { periodOf } from "./states/period.ts";

/** Stop at the first integer solution, or at the best. */
export type LinearGoal = "any" | "fewest";

/** Solves integer linear programs in the CPLEX LP format; `openHighs` gives the real one. */
export interface LinearSolver {
  /** Never rejects: a solver that fails is undecided. */
  solve(lpText: string, timeLimitMs: number, goal: LinearGoal): Promise<LinearResult>;
  close(): Promise<void>;
}

export interface LinearResult {
  /** `found`: a solution that may not be the best. */
  readonly status: "optimal" | "found" | "infeasible" | "undecided";
  /** Values of the variables that are not 0, by name; to be checked by the caller. */
  readonly values: ReadonlyMap<string, number>;
}

/** Columns of a program that are worth handing over. */
const COLUMNS_MAX = 20_000;

/** Whether the cover is exact for these nodes: times by unit, not too many. Hops are left out of it and checked after. */
export function canCover(kinds: Kinds): boolean {
  const { instance } = kinds;
  return (
    kinds.size * instance.units <= COLUMNS_MAX &&
    kinds.members.every((_, kind) => instance.node(kinds.node(kind)).tableMs === null)
  );
}

interface Cover {
  readonly text: string;
  readonly pieces: ReadonlyMap<string, Piece>;
}

/**
 * The program of a limit: each kind may serve some of its longest runs of units, as many as it has nodes; every unit has
 * to be covered. A cover is a plan: what overlaps is trimmed. Null when a unit can be covered by nothing.
 */
export function writeCover(kinds: Kinds, limitMs: number, maxNodes: number): Cover | null {
  const { units } = kinds.instance;
  const pieces = new Map<string, Piece>();
  const rows: string[][] = Array.from({ length: units }, () => []);
  const limits: string[] = [];
  for (let kind = 0; kind < kinds.size; kind++) {
    const ends = reachEnds(kinds.instance, kinds.node(kind), limitMs);
    const names: string[] = [];
    let furthest = 0;
    for (let first = 0; first < units; first++) {
      const end = ends[first] as number;
      if (end <= first || end <= furthest) continue;
      furthest = end;
      const name = `k${kind}u${first}`;
      pieces.set(name, { node: kind, first, end });
      names.push(name);
      for (let unit = first; unit < end; unit++) (rows[unit] as string[]).push(name);
    }
    if (names.length > 0) limits.push(` n${kind}: ${join(names)} <= ${kinds.count(kind)}`);
  }
  if (rows.some((names) => names.length === 0)) return null;
  const covers = rows.map((names, unit) => ` u${unit}: ${join(names)} >= 1`);
  const all = [...pieces.keys()];
  const bounds = all.map((name) => ` 0 <= ${name} <= ${kinds.count((pieces.get(name) as Piece).node)}`);
  const text = [
    "Minimize",
    ` nodes: ${join(all)}`,
    "Subject To",
    ...covers,
    ...limits,
    ...(maxNodes < kinds.instance.nodes.length ? [` most: ${join(all)} <= ${maxNodes}`] : []),
    "Bounds",
    ...bounds,
    "General",
    ...all.map((name) => ` ${name}`),
    "End",
    "",
  ].join("\n");
  return { text, pieces };
}

/** Readers of the format do not like lines without end. */
function join(names: readonly string[]): string {
  return names.map((name, index) => (index > 0 && index % 16 === 0 ? `\n ${name}` : name)).join(" + ");
}

export interface CoverOptions {
  readonly maxNodes: number;
  readonly deadline: Deadline;
  readonly solver: LinearSolver;
}

/**
 * The least period by covers: each test is a program, the range between bound and value shrinks. Hops count only in the
 * value of what is found; where they all keep the limit, as equal ones do, bound and value meet.
 *
 * @param incumbent of pieces of kinds
 */
export async function solvePeriodByCover(
  kinds: Kinds,
  options: CoverOptions & { readonly capMs: number },
  incumbent: Incumbent<readonly Piece[]>,
): Promise<void> {
  if (incumbent.plan === null) {
    const answer = await solveCover(kinds, options.capMs, options, "any");
    if (answer.status === "impossible") incumbent.raise(Number.POSITIVE_INFINITY);
    if (answer.status !== "found") return;
    const valueMs = periodOf(kinds, answer.pieces);
    // A plan whose hops break the cap is none.
    if (valueMs > options.capMs) return;
    incumbent.offer(answer.pieces, valueMs);
  }
  const candidates = listCandidates(kinds, incumbent.bound, incumbent.value) ?? new Float64Array(0);
  let low = 0;
  let high = candidates.length - 1;
  // Below it everything is known to be impossible; an undecided program moves `low` alone.
  let isCertain = true;
  while (low < high && !options.deadline.passed) {
    // A bound is mostly closer to the truth than a value that was searched for.
    const middle = low + Math.floor((high - low) / 3);
    const limitMs = candidates[middle] as number;
    const answer = await solveCover(kinds, limitMs, options, "any");
    if (answer.status === "found") {
      offerCover(kinds, answer.pieces, limitMs, options, incumbent);
      // What was found may be better than what was asked for.
      const reachedMs = stagesOf(kinds, answer.pieces);
      high = middle;
      while (high > low && (candidates[high - 1] as number) >= reachedMs * (1 - 1e-13)) high--;
      continue;
    }
    low = middle + 1;
    if (answer.status === "undecided") isCertain = false;
    if (isCertain) incumbent.raise(candidates[low] as number);
  }
  if (low === high && isCertain) incumbent.raise(candidates[low] ?? 0);
}

/** A cover whose hops are too slow is a good plan to begin from with exchanges. */
function offerCover(
  kinds: Kinds,
  pieces: readonly Piece[],
  limitMs: number,
  { maxNodes, deadline }: CoverOptions,
  incumbent: Incumbent<readonly Piece[]>,
): void {
  const valueMs = periodOf(kinds, pieces);
  incumbent.offer(pieces, valueMs);
  if (valueMs <= limitMs * (1 + 1e-12) || deadline.passed) return;
  const better = improvePeriod(kinds, pieces, maxNodes, deadline);
  incumbent.offer(better, periodOf(kinds, better));
}

/** The fewest nodes that cover all units within `limitMs`. */
export async function findFewestByCover(kinds: Kinds, limitMs: number, options: CoverOptions): Promise<CoverAnswer> {
  return await solveCover(kinds, limitMs, options, "fewest");
}

export type CoverAnswer =
  | { readonly status: "found"; readonly pieces: readonly Piece[]; readonly isFewest: boolean }
  | { readonly status: "impossible" }
  | { readonly status: "undecided" };

async function solveCover(
  kinds: Kinds,
  limitMs: number,
  { maxNodes, deadline, solver }: CoverOptions,
  goal: LinearGoal,
): Promise<CoverAnswer> {
  const cover = writeCover(kinds, limitMs, maxNodes);
  if (cover === null) return { status: "impossible" };
  const result = await solver.solve(cover.text, deadline.leftMs, goal);
  if (result.status === "infeasible") return { status: "impossible" };
  const chosen = [...result.values]
    .filter(([, value]) => value > 0.5)
    .map(([name]) => cover.pieces.get(name))
    .filter((piece) => piece !== undefined);
  const pieces = trimCover(chosen, kinds.instance.units);
  if (pieces === null) return { status: "undecided" };
  return { status: "found", pieces, isFewest: result.status === "optimal" && goal === "fewest" };
}

/** A plan of runs that overlap: each goes on from where the one before ends. Null when they leave a unit out. */
function trimCover(runs: readonly Piece[], units: number): Piece[] | null {
  const pieces: Piece[] = [];
  let at = 0;
  while (at < units) {
    const next = runs
      .filter((run) => run.first <= at && run.end > at)
      .reduce<Piece | null>((a, b) => (a === null || b.end > a.end ? b : a), null);
    if (next === null) return null;
    pieces.push({ node: next.node, first: at, end: next.end });
    at = next.end;
  }
  return pieces;
}

/** The longest stage: what a cover promises. */
function stagesOf(kinds: Kinds, pieces: readonly Piece[]): number {
  const { instance } = kinds;
  return pieces.reduce(
    (worst, { node, first, end }) => Math.max(worst, instance.stageMs(kinds.node(node), first, end)),
    0,
  );
}
