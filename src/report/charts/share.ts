import { sum } from "../../common/index.ts";
import type { ProfileDocument } from "../../profile/index.ts";
import type { ChartPanel, ReportChart } from "../document.ts";
import { nameClass, nameRole } from "../names.ts";
import { formatMs, formatNumber, formatPercent, joinWords } from "../numbers.ts";
import { type Paint, paintOfClass, paintOfRole } from "../paint.ts";
import {
  type Cell,
  chooseCell,
  hasBlockRoles,
  listGroups,
  listUnitCosts,
  nameCell,
  stepMsOf,
} from "../profile-view.ts";
import { makeAxis, makeBars, makeLegend, makePanel, makeTable } from "./parts.ts";

/** Below this share a piece has no room for its number. */
const LABEL_FROM = 0.07;

/** What lies outside of the units. */
const OUTSIDE: Paint = { color: "muted", pattern: "", symbol: "circle-open", dash: "dot" };

interface Share {
  readonly name: string;
  readonly paint: Paint;
  /** By phase, in the order of the cells. */
  readonly ms: readonly number[];
}

/** Where the time of a step goes, by role and by class of units. */
export function chartShare(profile: ProfileDocument): ReportChart | null {
  const cells = (["decode", "prefill"] as const).flatMap((phase) => chooseCell(profile, phase) ?? []);
  const costs = cells.map((cell) => listUnitCosts(profile, cell));
  if (costs.every((list) => sum(list.map(({ ms }) => ms)) === 0)) return null;
  const classes = [...new Set(costs.flat().map(({ unitClass }) => unitClass))];
  const byClass: readonly Share[] = classes.map((name) => ({
    name: nameClass(name),
    paint: paintOfClass(name, classes),
    ms: costs.map((list) => sum(list.filter((cost) => cost.unitClass === name).map(({ ms }) => ms))),
  }));
  const groups = listGroups(costs.flat());
  const byRole: readonly Share[] = groups.map((group) => ({
    name: nameRole(group),
    paint: paintOfRole(group),
    ms: costs.map((list) =>
      sum(list.flatMap(({ parts }) => parts.filter((part) => part.group === group).map(({ ms }) => ms))),
    ),
  }));
  const hasRoles = hasBlockRoles(costs.flat());
  const totals = cells.map((cell, index) => stepMsOf(profile, cell, costs[index] ?? []));
  const outside: Share = {
    name: "outside the units",
    paint: OUTSIDE,
    ms: totals.map((ms, index) => ms - sum((costs[index] ?? []).map((cost) => cost.ms))),
  };
  // Rounding alone leaves a little.
  const rest = outside.ms.some((ms, index) => ms > (totals[index] ?? 0) / 1e6) ? [outside] : [];
  const views = [
    ...(hasRoles ? [{ id: "role", title: "by role", shares: [...byRole, ...rest] }] : []),
    { id: "class", title: "by kind of unit", shares: [...byClass, ...rest] },
  ];
  return {
    id: "share",
    title: "Where a step's time goes",
    sentence: cells
      .map((cell, index) => describe(cell, index, hasRoles ? byRole : byClass, totals[index] ?? 0))
      .join(" "),
    note: `${cells.map(nameCell).join("; ")}.${rest.length > 0 ? " Outside the units lies what a whole step without hooks takes longer than its units together: making the graph, copying rows in and out, and what the units' own medians do not show." : ""}`,
    legend: [],
    panels: views.map(({ id, title, shares }) => draw(`share-${id}`, title, cells, shares, totals)),
    table: makeTable(
      "Share of a step's time by role and by kind of unit",
      ["part", "view", ...cells.flatMap(({ phase }) => [`#${phase}, ms`, `#${phase}, share`])],
      views.flatMap(({ title, shares }) =>
        shares.map(({ name, ms }) => [
          name,
          title,
          ...cells.flatMap((_, index) => [
            formatNumber(ms[index] ?? 0),
            formatPercent(ratioOf(ms[index] ?? 0, totals[index] ?? 0)),
          ]),
        ]),
      ),
    ),
  };
}

function describe(cell: Cell, index: number, shares: readonly Share[], totalMs: number): string {
  const largest = [...shares].sort((a, b) => (b.ms[index] ?? 0) - (a.ms[index] ?? 0)).slice(0, 3);
  const words = largest
    .filter(({ ms }) => (ms[index] ?? 0) > 0)
    .map(({ name, ms }) => `${name} ${formatPercent(ratioOf(ms[index] ?? 0, totalMs))}`);
  return `In ${cell.phase}: ${joinWords(words)}.`;
}

function draw(
  id: string,
  title: string,
  cells: readonly Cell[],
  shares: readonly Share[],
  totals: readonly number[],
): ChartPanel {
  const labels = cells.map(({ phase }) => phase);
  return makePanel(
    id,
    makeAxis("share of the step's time, %", { range: [0, 100] }),
    makeAxis("", { kind: "category", reversed: true }),
    shares.map(({ name, paint, ms }) => {
      const ratios = cells.map((_, index) => ratioOf(ms[index] ?? 0, totals[index] ?? 0));
      return makeBars(name, paint, {
        horizontal: true,
        x: ratios.map((ratio) => 100 * ratio),
        y: labels,
        text: ratios.map((ratio) => (ratio >= LABEL_FROM ? formatPercent(ratio) : "")),
        hover: ratios.map(
          (ratio, index) => `${labels[index] ?? ""}, ${name}: ${formatPercent(ratio)}, ${formatMs(ms[index] ?? 0)}`,
        ),
      });
    }),
    { title, height_px: 190, legend: shares.map(({ name, paint }) => makeLegend(name, "bar", paint)) },
  );
}

function ratioOf(part: number, whole: number): number {
  return whole > 0 ? part / whole : 0;
}
