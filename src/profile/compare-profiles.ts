import type { RowRole } from "./count-work.ts";
import { nameCell } from "./measured.ts";
import { roundFigure } from "./round.ts";
import { median } from "../common/index.ts";
import type { ProfileDocument, ProfileRow } from "./types.ts";
import { sayMs, saySharePercent } from "./words.ts";

/** One role of a class of units in one cell, in both profiles. Times of one unit, hooks' cost taken off. */
export interface ComparedPart {
  readonly unit_class: string;
  readonly role: RowRole;
  readonly phase: ProfileRow["phase"];
  readonly rows: number;
  readonly context: number;
  readonly a_ms: number;
  readonly b_ms: number;
  /** b / a; null when a is 0. */
  readonly ratio: number | null;
  /** The difference is no larger than what the samples, or two runs of the same, differ by. */
  readonly within_spread: boolean;
}

export interface ProfileComparison {
  /** Machine, build, model and settings that are not the same, in words. */
  readonly differences: readonly string[];
  /** The largest changes, in words. */
  readonly changes: readonly string[];
  readonly parts: readonly ComparedPart[];
  /** Parts that only one of them has. */
  readonly only_in_a: number;
  readonly only_in_b: number;
}

/** Two profiles of the same model on the same idle machine agree so well, and no better. */
export const REPEATABLE_RATIO = 0.03;
const CHANGES = 3;
/** Of its step; a smaller change is not worth words. */
const SMALLEST_EFFECT = 0.005;

/** Puts two profiles side by side, by class of units, role and cell. */
export function compareProfiles(a: ProfileDocument, b: ProfileDocument): ProfileComparison {
  const [ofA, ofB] = [groupRows(a), groupRows(b)];
  const parts = [...ofA].flatMap(([key, left]) => {
    const right = ofB.get(key);
    return right === undefined ? [] : [comparePart(left, right)];
  });
  const unitsOf = (part: ComparedPart): number => countUnits(a, part.unit_class);
  return {
    differences: listDifferences(a, b),
    changes: sayChanges(
      parts,
      [a, b].every(({ settings }) => settings.level !== "layer"),
      unitsOf,
    ),
    parts,
    only_in_a: [...ofA.keys()].filter((key) => !ofB.has(key)).length,
    only_in_b: [...ofB.keys()].filter((key) => !ofA.has(key)).length,
  };
}

/**
 * True when a difference says nothing: below what two runs differ by, or below both sides' deviations together.
 *
 * @param estimated part of the difference that may be due to estimates: what was taken off for the hooks on both sides
 */
export function isWithinSpread(a: number, b: number, deviationA: number, deviationB: number, estimated = 0): boolean {
  const difference = Math.abs(b - a) - estimated;
  return difference <= Math.max(REPEATABLE_RATIO * Math.abs(a), Math.hypot(deviationA, deviationB));
}

function groupRows({ units }: ProfileDocument): Map<string, ProfileRow[]> {
  const groups = new Map<string, ProfileRow[]>();
  for (const row of units) {
    if (row.n === 0) continue;
    const key = `${row.phase} ${row.rows} ${row.context} ${row.unit_class} ${row.role}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return groups;
}

function comparePart(left: readonly ProfileRow[], right: readonly ProfileRow[]): ComparedPart {
  const [a, b] = [left, right].map((rows) => median(rows.map((row) => Math.max(0, row.p50_ms - row.sync_ms))));
  const [deviationA, deviationB] = [left, right].map((rows) => median(rows.map((row) => row.sd_ms)));
  const [syncA, syncB] = [left, right].map((rows) => median(rows.map((row) => row.sync_ms)));
  const [first] = left;
  const [aMs, bMs] = [a ?? 0, b ?? 0];
  return {
    unit_class: first?.unit_class ?? "",
    role: first?.role ?? "total",
    phase: first?.phase ?? "decode",
    rows: first?.rows ?? 0,
    context: first?.context ?? 0,
    a_ms: roundFigure(aMs),
    b_ms: roundFigure(bMs),
    ratio: aMs > 0 ? roundFigure(bMs / aMs) : null,
    within_spread: isWithinSpread(aMs, bMs, deviationA ?? 0, deviationB ?? 0, Math.abs((syncB ?? 0) - (syncA ?? 0))),
  };
}

/** By what they change of their step; of one role of a class only the cell that shows it best. */
function sayChanges(
  parts: readonly ComparedPart[],
  hasRoles: boolean,
  unitsOf: (part: ComparedPart) => number,
): string[] {
  const stepMs = new Map<string, number>();
  for (const part of parts.filter(({ role }) => role === "total")) {
    stepMs.set(nameCell(part), (stepMs.get(nameCell(part)) ?? 0) + part.a_ms * unitsOf(part));
  }
  const weighed = parts
    .filter((part) => !part.within_spread && (part.role === "total") !== hasRoles)
    .map((part) => {
      const step = stepMs.get(nameCell(part)) ?? 0;
      return { part, effect: step > 0 ? ((part.b_ms - part.a_ms) * unitsOf(part)) / step : 0 };
    })
    .filter(({ effect }) => Math.abs(effect) >= SMALLEST_EFFECT)
    .sort((x, y) => Math.abs(y.effect) - Math.abs(x.effect));
  const seen = new Set<string>();
  const largest = weighed.filter(({ part }) => {
    const key = `${part.unit_class} ${part.role}`;
    const isFirst = !seen.has(key);
    seen.add(key);
    return isFirst;
  });
  return largest.slice(0, CHANGES).map(({ part, effect }) => {
    const who =
      part.role === "total" || part.role === part.unit_class ? part.unit_class : `${part.unit_class} ${part.role}`;
    const units = unitsOf(part);
    const share = `${saySharePercent(Math.abs(effect))} of the step ${effect > 0 ? "more" : "less"}`;
    const each = units > 1 ? ` in each of ${units} units` : "";
    return `${who}, ${nameCell(part)}: ${sayMs(part.a_ms)} became ${sayMs(part.b_ms)} (${sayRatio(part.ratio)})${each}, ${share}.`;
  });
}

export function sayRatio(ratio: number | null): string {
  return ratio === null ? "from nothing" : `x ${ratio.toFixed(2)}`;
}

function countUnits({ cost_model }: ProfileDocument, name: string): number {
  return cost_model.classes.find((unitClass) => unitClass.name === name)?.units.length ?? 1;
}

function listDifferences(a: ProfileDocument, b: ProfileDocument): string[] {
  const facts: readonly (readonly [
    what: string,
    of: (profile: ProfileDocument) => string | number | boolean | null,
  ])[] = [
    ["machine", ({ machine }) => machine.name],
    ["CPU", ({ machine }) => machine.cpu_model],
    ["cores", ({ machine }) => machine.cores],
    ["memory in bytes", ({ machine }) => machine.memory_total_bytes],
    ["engine build", ({ machine }) => machine.engine_build],
    ["engine's CPU variant", ({ machine }) => machine.engine_variant],
    ["noodlecore", ({ noodlecore_version }) => noodlecore_version],
    ["model", ({ model }) => model.name],
    ["model header (SHA-256)", ({ model }) => model.header_sha256],
    ["weight type", ({ model }) => model.weight_type],
    ["units", ({ settings }) => settings.units],
    ["threads", ({ settings }) => settings.threads],
    ["level", ({ settings }) => settings.level],
    ["synthetic", ({ settings }) => settings.synthetic],
    ["partial", ({ partial }) => partial],
  ];
  return facts
    .filter(([, of]) => of(a) !== of(b))
    .map(([what, of]) => `${what}: ${String(of(a) ?? "unknown")} and ${String(of(b) ?? "unknown")}`);
}
