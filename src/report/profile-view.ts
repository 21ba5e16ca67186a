import { groupOf, type Phase, ROLE_GROUPS, type Role } from "../observe/index.ts";
import type { ProfileCell, ProfileDocument, ProfileRow } from "../profile/index.ts";

/** Stacking order: as a step passes through them. */
const GROUP_ORDER: readonly string[] = [...ROLE_GROUPS.slice(0, -1), "residual", "other", "total"];

/** A column of a profile: one phase, one number of rows, one context. */
export interface Cell {
  readonly phase: Phase;
  readonly rows: number;
  readonly context: number;
}

/** What a unit costs in one cell. */
export interface UnitCost {
  readonly unit: number;
  readonly name: string;
  readonly unitClass: string;
  /** Of groups of roles, or of `total` alone; what the hooks cost is taken off. */
  readonly parts: readonly { readonly group: string; readonly ms: number }[];
  /** Sum of the parts. */
  readonly ms: number;
  /** What the hooks cost on top. */
  readonly syncMs: number;
  /** Samples; 0 for a unit that was inferred from others of its class. */
  readonly samples: number;
}

/** All cells that have rows, in the order phase, rows, context. */
export function listCells(profile: ProfileDocument): readonly Cell[] {
  const cells = new Map<string, Cell>();
  for (const { phase, rows, context } of profile.units)
    cells.set(`${phase} ${rows} ${context}`, { phase, rows, context });
  return [...cells.values()].sort(
    (a, b) => Number(a.phase === "decode") - Number(b.phase === "decode") || a.rows - b.rows || a.context - b.context,
  );
}

/**
 * The cell that stands for a phase: the one that the profile's own words are about; else decode of one row (or the
 * fewest), prefill of the most rows; of their contexts the middle one for decode, the smallest for prefill. Null when
 * the phase was not measured.
 */
export function chooseCell(profile: ProfileDocument, phase: Phase): Cell | null {
  const cells = listCells(profile).filter((cell) => cell.phase === phase);
  const named = profile.bottlenecks.find((bottleneck) => bottleneck.phase === phase);
  const known = cells.find(({ rows, context }) => rows === named?.rows && context === named.context);
  if (known !== undefined) return known;
  const rows = phase === "decode" ? cells[0]?.rows : cells.at(-1)?.rows;
  const same = cells.filter((cell) => cell.rows === rows);
  return (phase === "decode" ? same[Math.floor((same.length - 1) / 2)] : same[0]) ?? null;
}

/** `decode, 1 row, 512 tokens of context`. */
export function nameCell({ phase, rows, context }: Cell): string {
  return `${phase}, ${rows} row${rows === 1 ? "" : "s"}, ${context === 0 ? "empty context" : `${context} tokens of context`}`;
}

/** The rows of one cell. */
export function rowsOf(profile: ProfileDocument, cell: Cell): readonly ProfileRow[] {
  return profile.units.filter(
    (row) => row.phase === cell.phase && row.rows === cell.rows && row.context === cell.context,
  );
}

/** Each unit of a cell with its parts, in order. */
export function listUnitCosts(profile: ProfileDocument, cell: Cell): readonly UnitCost[] {
  const byUnit = new Map<number, ProfileRow[]>();
  for (const row of rowsOf(profile, cell)) {
    const known = byUnit.get(row.unit);
    if (known === undefined) byUnit.set(row.unit, [row]);
    else known.push(row);
  }
  return [...byUnit].sort(([a], [b]) => a - b).map(([unit, rows]) => describeUnit(unit, rows));
}

/** The document's word on a cell as a whole; null when it has none. */
export function findCell(profile: ProfileDocument, { phase, rows, context }: Cell): ProfileCell | null {
  return profile.cells.find((cell) => cell.phase === phase && cell.rows === rows && cell.context === context) ?? null;
}

/** Time of the whole step without hooks; where it was not measured, or is less, what its units take together. */
export function stepMsOf(profile: ProfileDocument, cell: Cell, costs: readonly UnitCost[]): number {
  const unitsMs = costs.reduce((total, { ms }) => total + ms, 0);
  return Math.max(findCell(profile, cell)?.step_off_ms ?? 0, unitsMs);
}

/** The groups that occur, in stacking order. */
export function listGroups(costs: readonly UnitCost[]): readonly string[] {
  const seen = new Set(costs.flatMap(({ parts }) => parts.map(({ group }) => group)));
  return [...seen].sort((a, b) => placeOf(a) - placeOf(b));
}

/** Embedding and head have their roles at any level; only where blocks have them is there something to tell apart. */
export function hasBlockRoles(units: readonly UnitCost[]): boolean {
  return units.some(({ name, parts }) => name.startsWith("blk.") && parts.some(({ group }) => group !== "total"));
}

/** The group of a row's role; a residual addition is a group of its own where it was timed alone. */
export function groupOfRow(role: ProfileRow["role"]): string {
  if (role === "total") return "total";
  return groupOf(role as Role) ?? (role === "residual" ? "residual" : role);
}

function describeUnit(unit: number, rows: readonly ProfileRow[]): UnitCost {
  const whole = rows.filter((row) => row.role === "total");
  const roles = rows.filter((row) => row.role !== "total");
  const used = roles.length > 0 ? roles : whole;
  const groups = new Map<string, number>();
  for (const row of used) {
    const group = groupOfRow(row.role);
    groups.set(group, (groups.get(group) ?? 0) + Math.max(0, row.p50_ms - row.sync_ms));
  }
  const parts = [...groups].map(([group, ms]) => ({ group, ms })).sort((a, b) => placeOf(a.group) - placeOf(b.group));
  return {
    unit,
    name: rows[0]?.name ?? "",
    unitClass: rows[0]?.unit_class ?? "",
    parts,
    ms: parts.reduce((total, part) => total + part.ms, 0),
    syncMs: used.reduce((total, row) => total + Math.min(row.sync_ms, row.p50_ms), 0),
    samples: Math.min(...used.map(({ n }) => n)),
  };
}

function placeOf(group: string): number {
  const place = GROUP_ORDER.indexOf(group);
  return place < 0 ? GROUP_ORDER.length : place;
}
