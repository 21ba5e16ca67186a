import { sum } from "../../common/index.ts";
import type { ProfileDocument, ProfileRow } from "../../profile/index.ts";
import type { ReportChart } from "../document.ts";
import { nameUnit, nameUnitShort } from "../names.ts";
import { capitalize, formatBytes, formatNumber, formatPercent } from "../numbers.ts";
import { paintOf } from "../paint.ts";
import { makeAxis, makeBars, makeLegend, makePanel, makeTable } from "./parts.ts";

const MIB = 2 ** 20;
const KINDS = [
  { key: "weights", name: "weights", paint: paintOf(0) },
  { key: "kv", name: "keys and values", paint: paintOf(2) },
  { key: "rest", name: "activations and buffers", paint: paintOf(4) },
] as const;

interface UnitMemory {
  readonly name: string;
  readonly weights: number;
  readonly kv: number;
  readonly rest: number;
}

/** What each unit keeps in memory. */
export function chartUnitMemory(profile: ProfileDocument): ReportChart | null {
  const contextTokens = Math.max(...profile.units.map((row) => row.context + row.rows), 0);
  const units = listUnits(profile, contextTokens);
  if (units.length === 0 || sum(units.map(({ weights }) => weights)) === 0) return null;
  const totals = { weights: 0, kv: 0, rest: 0 };
  for (const unit of units) for (const { key } of KINDS) totals[key] += unit[key];
  const all = totals.weights + totals.kv + totals.rest;
  const largest = units.reduce((best, unit) => (unit.weights > best.weights ? unit : best));
  return {
    id: "unit-memory",
    title: "Memory of each unit",
    sentence: `${formatBytes(all)} in all, of which ${formatPercent(totals.weights / all)} are weights; the keys and values of one sequence of ${contextTokens} tokens take ${formatBytes(totals.kv)}. ${capitalize(nameUnit(largest.name))} has the most weights: ${formatBytes(largest.weights)}, ${formatPercent(largest.weights / totals.weights)} of them.`,
    note: `Keys and values are of the longest sequence that was measured, ${contextTokens} tokens; activations and compute buffers are the most that a unit needed at once.`,
    legend: KINDS.map(({ name, paint }) => makeLegend(name, "bar", paint)),
    panels: [
      makePanel(
        "unit-memory-plot",
        makeAxis("unit", { kind: "category" }),
        makeAxis("MiB"),
        KINDS.map(({ key, name, paint }) =>
          makeBars(name, paint, {
            x: units.map((unit) => nameUnitShort(unit.name)),
            y: units.map((unit) => unit[key] / MIB),
            hover: units.map((unit) => `${nameUnit(unit.name)}, ${name}: ${formatBytes(unit[key])}`),
          }),
        ),
        { wide: true, height_px: 300 },
      ),
    ],
    table: makeTable(
      "Memory of each unit, MiB",
      ["unit", ...KINDS.map(({ name }) => `#${name}`), "#sum"],
      units.map((unit) => [
        nameUnit(unit.name),
        ...KINDS.map(({ key }) => formatNumber(unit[key] / MIB)),
        formatNumber((unit.weights + unit.kv + unit.rest) / MIB),
      ]),
    ),
  };
}

function listUnits(profile: ProfileDocument, contextTokens: number): readonly UnitMemory[] {
  const byUnit = new Map<number, ProfileRow[]>();
  for (const row of profile.units) {
    const known = byUnit.get(row.unit);
    if (known === undefined) byUnit.set(row.unit, [row]);
    else known.push(row);
  }
  return [...byUnit]
    .sort(([a], [b]) => a - b)
    .map(([unit, rows]) => {
      // Rows of roles carry their role's share of the weights: a whole unit is its total, or the sum over its roles.
      const whole = rows.filter((row) => row.role === "total");
      const first = rows[0];
      const once = whole.length > 0 ? whole.slice(0, 1) : rows.filter((row) => sameCell(row, first));
      const weights = sum(once.map((row) => row.weights_bytes));
      const classKv = profile.cost_model.classes.find(({ units }) => units.includes(unit))?.kv_bytes_per_token;
      const kvPerToken = classKv ?? Math.max(...rows.map((row) => row.kv_bytes_per_token));
      const kv = kvPerToken * contextTokens;
      const peak = Math.max(...rows.map((row) => row.peak_bytes));
      return { name: first?.name ?? "", weights, kv, rest: Math.max(0, peak - weights - kv) };
    });
}

function sameCell(row: ProfileRow, first: ProfileRow | undefined): boolean {
  return row.phase === first?.phase && row.rows === first.rows && row.context === first.context;
}
