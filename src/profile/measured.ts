import { must, NoodleError } from "../common/index.ts";
import type { Phase } from "../observe/index.ts";
import { nameStandIn } from "./classes.ts";
import type { RowRole, WorkCell } from "./count-work.ts";
import type { ModelWork, UnitWork } from "./model-work.ts";
import type { RawCell, RawProfile, RawSegment } from "./raw.ts";
import { median } from "../common/index.ts";
import { type Statistics, summarise } from "./statistics.ts";

/** One (unit, role) of a cell. */
export interface MeasuredPart {
  readonly unit: UnitWork;
  readonly role: RowRole;
  /** Of the times as they were measured, hooks included; `n` is 0 for a unit that others of its class stand for. */
  readonly statistics: Statistics;
  /** Estimated part of the median that only the synchronisations made. */
  readonly syncMs: number;
  /** Median without the hooks' cost; the units' add up to the step without hooks, the roles' to their unit's. */
  readonly netMs: number;
}

export interface MeasuredCell extends WorkCell {
  readonly n: number;
  readonly stepMs: number;
  /** null when no step without hooks was measured. */
  readonly stepOffMs: number | null;
  readonly hookMs: number;
  readonly outsideMs: number;
  readonly otherMs: number;
  /** Role `total` of every unit, in order. */
  readonly totals: readonly MeasuredPart[];
  /** The finer roles of every unit, in the order in which they came; at level `layer` only what is no unit's graph. */
  readonly roles: readonly MeasuredPart[];
  /** What the step is made of, told apart as finely as it was measured: roles, or totals where there are none. */
  readonly finest: readonly MeasuredPart[];
}

/** However dear a synchronisation is, so much of a part's time is its own. */
const SMALLEST_OWN_SHARE = 0.02;

/**
 * Takes the hooks' cost off the samples of every cell that has any.
 *
 * A step with hooks of S ms that takes O ms without has paid S - O for them. What of it lies between the segments was
 * measured (`hookMs - outsideMs`); the rest is inside them, the same for every synchronisation, and is taken off each
 * segment: never more than the shortest segment takes, which holds a synchronisation as every other does. Then the units
 * are scaled so that they and the time outside the graph add up to O.
 *
 * @throws NoodleError `PROFILE_INVALID`
 */
export function measureCells(raw: RawProfile): MeasuredCell[] {
  const seen = new Set<string>();
  for (const cell of raw.cells) {
    const name = nameCell(cell);
    if (seen.has(name)) throw invalid(`the cell ${name} is there twice`);
    seen.add(name);
    checkCell(cell, raw.work, name);
  }
  return raw.cells.filter((cell) => cell.stepMs.length > 0).map((cell) => measureCell(cell, raw));
}

export function nameCell({ phase, rows, context }: { phase: Phase; rows: number; context: number }): string {
  return `${phase} of ${rows} row${rows === 1 ? "" : "s"} at ${context} tokens`;
}

/** Reads `A:B`; the whole model where it says something else. */
export function readRange(units: string, count: number): { readonly first: number; readonly end: number } {
  const [first = Number.NaN, end = Number.NaN] = units.split(":").map(Number);
  return Number.isSafeInteger(first) && Number.isSafeInteger(end) ? { first, end } : { first: 0, end: count };
}

function measureCell(cell: RawCell, raw: RawProfile): MeasuredCell {
  const stepMs = summarise(cell.stepMs).p50;
  const stepOffMs = cell.stepOffMs.length === 0 ? null : summarise(cell.stepOffMs).p50;
  const [hookMs, outsideMs] = [summarise(cell.hookMs).p50, summarise(cell.outsideMs).p50];
  const synchronised = cell.segments.filter(({ role }) => isSynchronised(role));
  const synchronisations = synchronised.reduce((total, segment) => total + segment.segmentsPerStep, 0);
  const inside = stepOffMs === null ? 0 : Math.max(0, stepMs - stepOffMs - Math.max(0, hookMs - outsideMs));
  const shortestMs = Math.min(...synchronised.map(({ ms, segmentsPerStep }) => summarise(ms).p50 / segmentsPerStep));
  const syncMs = synchronisations === 0 ? 0 : Math.min(inside / synchronisations, shortestMs);
  const units = groupByUnit(cell.segments).map(([unit, segments]) => measureUnit(raw.work, unit, segments, syncMs));
  const graphMs = stepOffMs === null ? 0 : stepOffMs - outsideMs;
  const ownMs = units.reduce((total, { totalPart }) => total + totalPart.netMs, 0);
  const scale = graphMs > 0 && ownMs > 0 ? graphMs / ownMs : 1;
  const scaled = units.map(({ totalPart, roleParts, isSplit }) => ({
    isSplit,
    totalPart: scalePart(totalPart, scale),
    roleParts: roleParts.map((part) => scalePart(part, scale)),
  }));
  const all = inferUnits(scaled, raw);
  return {
    phase: cell.phase,
    rows: cell.rows,
    context: cell.context,
    outputRows: cell.outputRows,
    n: cell.stepMs.length,
    stepMs,
    stepOffMs,
    hookMs,
    outsideMs,
    otherMs: summarise(cell.otherMs).p50,
    totals: all.map(({ totalPart }) => totalPart),
    roles: all.flatMap(({ roleParts }) => roleParts),
    finest: all.flatMap(({ totalPart, roleParts, isSplit }) => (isSplit ? roleParts : [totalPart])),
  };
}

/** What happens behind the graph is timed without stopping it. */
function isSynchronised(role: RowRole): boolean {
  return role !== "sampling" && role !== "transfer";
}

interface MeasuredUnit {
  readonly totalPart: MeasuredPart;
  /** The roles make up the unit. */
  readonly isSplit: boolean;
  readonly roleParts: readonly MeasuredPart[];
}

function measureUnit(
  work: ModelWork,
  index: number,
  segments: readonly RawSegment[],
  syncEachMs: number,
): MeasuredUnit {
  const unit = must(work.units[index], `unit ${index}`);
  const steps = segments[0]?.ms.length ?? 0;
  const sums = Array.from({ length: steps }, (_, step) =>
    segments.reduce((total, segment) => total + (segment.ms[step] ?? 0), 0),
  );
  const syncOf = ({ role, segmentsPerStep }: RawSegment): number =>
    isSynchronised(role) ? syncEachMs * segmentsPerStep : 0;
  const totalSyncMs = segments.reduce((total, segment) => total + syncOf(segment), 0);
  const totalPart = takeSyncOff(unit, "total", sums, totalSyncMs);
  const roleParts = segments
    .filter((segment) => segment.role !== "total")
    .map((segment) => takeSyncOff(unit, segment.role, segment.ms, syncOf(segment)));
  const rolesMs = roleParts.reduce((total, part) => total + part.netMs, 0);
  // Medians do not add up; shares of a unit should.
  const isSplit = roleParts.length === segments.length;
  const fit = isSplit && rolesMs > 0 ? totalPart.netMs / rolesMs : 1;
  return { totalPart, isSplit, roleParts: roleParts.map((part) => scalePart(part, fit)) };
}

function takeSyncOff(unit: UnitWork, role: RowRole, samples: readonly number[], syncMs: number): MeasuredPart {
  const statistics = summarise(samples);
  const taken = Math.min(syncMs, statistics.p50 * (1 - SMALLEST_OWN_SHARE));
  return { unit, role, statistics, syncMs: taken, netMs: statistics.p50 - taken };
}

function scalePart(part: MeasuredPart, factor: number): MeasuredPart {
  return { ...part, netMs: part.netMs * factor };
}

/** Adds the units of the run's range that were not measured: each gets the medians of its class. */
function inferUnits(measured: readonly MeasuredUnit[], { work, settings }: RawProfile): MeasuredUnit[] {
  const { first, end } = readRange(settings.units, work.units.length);
  const byUnit = new Map(measured.map((unit) => [unit.totalPart.unit.unit, unit]));
  const complete = work.units.flatMap((unit) => {
    const known = byUnit.get(unit.unit);
    if (known !== undefined) return known;
    return unit.unit >= first && unit.unit < end ? (inferUnit(unit, measured) ?? []) : [];
  });
  return complete;
}

function inferUnit(unit: UnitWork, measured: readonly MeasuredUnit[]): MeasuredUnit | null {
  const likes = findLikes(unit.unitClass, measured, ({ totalPart }) => totalPart.unit.unitClass);
  if (likes.length === 0) return null;
  const roles = [...new Set(likes.flatMap(({ roleParts }) => roleParts.map(({ role }) => role)))];
  return {
    isSplit: likes.every(({ isSplit }) => isSplit),
    totalPart: inferPart(
      unit,
      likes.map(({ totalPart }) => totalPart),
    ),
    roleParts: roles.map((role) =>
      inferPart(
        unit,
        likes.flatMap(({ roleParts }) => roleParts.filter((part) => part.role === role)),
      ),
    ),
  };
}

function inferPart(unit: UnitWork, likes: readonly MeasuredPart[]): MeasuredPart {
  const middle = (of: (part: MeasuredPart) => number): number => median(likes.map(of));
  return {
    unit,
    role: must(likes[0], "part of a class").role,
    statistics: {
      n: 0,
      mean: middle((part) => part.statistics.mean),
      p50: middle((part) => part.statistics.p50),
      p95: middle((part) => part.statistics.p95),
      sd: middle((part) => part.statistics.sd),
    },
    syncMs: middle((part) => part.syncMs),
    netMs: middle((part) => part.netMs),
  };
}

/** Those of the class; without any, those of the class that may stand in for it. */
export function findLikes<T>(unitClass: string, items: readonly T[], classOf: (item: T) => string): readonly T[] {
  const own = items.filter((item) => classOf(item) === unitClass);
  const standIn = nameStandIn(unitClass);
  return own.length > 0 || standIn === null ? own : items.filter((item) => classOf(item) === standIn);
}

function groupByUnit(segments: readonly RawSegment[]): [number, RawSegment[]][] {
  const groups = new Map<number, RawSegment[]>();
  for (const segment of segments) {
    const group = groups.get(segment.unit);
    if (group === undefined) groups.set(segment.unit, [segment]);
    else group.push(segment);
  }
  return [...groups].sort(([a], [b]) => a - b);
}

function checkCell(cell: RawCell, work: ModelWork, name: string): void {
  const steps = cell.stepMs.length;
  for (const list of [cell.hookMs, cell.outsideMs, cell.otherMs, ...cell.segments.map((segment) => segment.ms)]) {
    if (list.length !== steps) throw invalid(`${name}: ${list.length} samples beside ${steps} steps`);
  }
  const times = [cell.stepMs, cell.stepOffMs, cell.hookMs, cell.outsideMs, ...cell.segments.map(({ ms }) => ms)];
  if (!times.flat().every((time) => Number.isFinite(time) && time >= 0)) {
    throw invalid(`${name}: a time is negative or no number`);
  }
  const keys = cell.segments.map((segment) => `${segment.unit} ${segment.role}`);
  if (new Set(keys).size !== keys.length) throw invalid(`${name}: a role of a unit is there twice`);
  const unknown = cell.segments.find((segment) => work.units[segment.unit] === undefined);
  if (unknown !== undefined) {
    throw invalid(`${name}: unit ${unknown.unit} of a model with ${work.units.length} units`);
  }
}

function invalid(message: string): NoodleError {
  return new NoodleError("PROFILE_INVALID", message);
}
