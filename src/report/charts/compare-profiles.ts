import type { Phase } from "../../observe/index.ts";
import type { ChartPanel, ReportChart } from "../document.ts";
import type { NamedProfile } from "../inputs.ts";
import { cleanName, nameUnit, nameUnitShort } from "../names.ts";
import { formatMs, formatNumber, formatPercent, formatRatio } from "../numbers.ts";
import { paintOf } from "../paint.ts";
import { type Cell, listCells, listUnitCosts, nameCell } from "../profile-view.ts";
import { makeAxis, makeLegend, makePanel, makePoints, makeTable } from "./parts.ts";

const PAINTS = [paintOf(0), paintOf(1)] as const;

interface Pair {
  readonly unit: number;
  readonly name: string;
  readonly aMs: number;
  readonly bMs: number;
}

interface Comparison {
  readonly cell: Cell;
  readonly pairs: readonly Pair[];
}

/** Two profiles side by side: the same units in the same cells. */
export function chartComparison(a: NamedProfile, b: NamedProfile): ReportChart | null {
  const comparisons = (["decode", "prefill"] as const).flatMap((phase) => compare(a, b, phase));
  if (comparisons.length === 0) return null;
  const names = [cleanName(a.name, 40), cleanName(b.name, 40)] as const;
  return {
    id: "comparison",
    title: `${names[0]} and ${names[1]}`,
    sentence: comparisons.map((comparison) => describe(comparison, names)).join(" "),
    note: `Units that both have, in the same cell: ${comparisons.map(({ cell }) => nameCell(cell)).join("; ")}.`,
    legend: names.map((name, index) => makeLegend(name, "point", PAINTS[index] ?? PAINTS[0])),
    panels: comparisons.map((comparison) => draw(comparison, names)),
    table: makeTable(
      `Time of each unit in ${names[0]} and in ${names[1]}`,
      ["unit", "phase", `#${names[0]}, ms`, `#${names[1]}, ms`, "#ratio"],
      comparisons.flatMap(({ cell, pairs }) =>
        pairs.map(({ name, aMs, bMs }) => [
          nameUnit(name),
          cell.phase,
          formatNumber(aMs),
          formatNumber(bMs),
          formatRatio(bMs / aMs),
        ]),
      ),
    ),
  };
}

function compare(a: NamedProfile, b: NamedProfile, phase: Phase): Comparison[] {
  const theirs = listCells(b.document);
  const cells = listCells(a.document).filter(
    (cell) =>
      cell.phase === phase &&
      theirs.some((other) => other.phase === phase && other.rows === cell.rows && other.context === cell.context),
  );
  const cell = phase === "decode" ? cells[0] : cells.at(-1);
  if (cell === undefined) return [];
  const bCosts = new Map(listUnitCosts(b.document, cell).map((cost) => [cost.unit, cost.ms]));
  const pairs = listUnitCosts(a.document, cell).flatMap(({ unit, name, ms }) => {
    const bMs = bCosts.get(unit) ?? 0;
    return ms > 0 && bMs > 0 ? [{ unit, name, aMs: ms, bMs }] : [];
  });
  return pairs.length === 0 ? [] : [{ cell, pairs }];
}

function describe({ cell, pairs }: Comparison, names: readonly [string, string]): string {
  const errors = pairs.map(({ aMs, bMs }) => Math.abs(bMs - aMs) / aMs);
  const mean = errors.reduce((total, error) => total + error, 0) / errors.length;
  const worst = pairs.reduce((best, pair) =>
    Math.abs(Math.log(pair.bMs / pair.aMs)) > Math.abs(Math.log(best.bMs / best.aMs)) ? pair : best,
  );
  const total = (pick: (pair: Pair) => number): number => pairs.reduce((ms, pair) => ms + pick(pair), 0);
  const [aMs, bMs] = [total(({ aMs }) => aMs), total(({ bMs }) => bMs)];
  const name = cell.phase === "decode" ? "Decode" : "Prefill";
  return `${name}: ${formatMs(aMs)} in ${names[0]} and ${formatMs(bMs)} in ${names[1]} (${formatRatio(bMs / aMs)}); the units differ by ${formatPercent(mean)} on average, most of all ${nameUnit(worst.name)} (${formatRatio(worst.bMs / worst.aMs)}).`;
}

function draw({ cell, pairs }: Comparison, names: readonly [string, string]): ChartPanel {
  const labels = pairs.map(({ name }) => nameUnitShort(name));
  const series = [pairs.map(({ aMs }) => aMs), pairs.map(({ bMs }) => bMs)];
  return makePanel(
    `comparison-${cell.phase}`,
    makeAxis("unit", { kind: "category" }),
    makeAxis("ms for one step"),
    series.map((ms, index) =>
      makePoints(names[index] ?? "", PAINTS[index] ?? PAINTS[0], {
        line: false,
        x: labels,
        y: ms,
        hover: pairs.map(({ name }, place) => `${nameUnit(name)}, ${names[index] ?? ""}: ${formatMs(ms[place] ?? 0)}`),
      }),
    ),
    { title: nameCell(cell), wide: pairs.length > 40 },
  );
}
