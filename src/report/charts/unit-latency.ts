import { median, quantile, sum } from "../../common/index.ts";
import type { Phase } from "../../observe/index.ts";
import type { ProfileDocument } from "../../profile/index.ts";
import type { ChartPanel, ReportChart } from "../document.ts";
import { nameRole, nameUnit, nameUnitShort } from "../names.ts";
import { formatMs, formatNumber, formatPercent, formatRatio, joinWords } from "../numbers.ts";
import { paintOfRole } from "../paint.ts";
import {
  type Cell,
  chooseCell,
  findCell,
  listGroups,
  listUnitCosts,
  nameCell,
  stepMsOf,
  type UnitCost,
} from "../profile-view.ts";
import { makeAxis, makeBars, makeLegend, makePanel, makeTable } from "./parts.ts";

/** A unit this much slower than the block in the middle stands out. */
const ALIKE = 1.15;
/** Embedding and head are worth a word from this share on. */
const OTHER_FROM = 0.02;

/** What the parts do not explain of a step is said from this share on. */
const MISSING_FROM = 0.03;

interface PhaseCosts {
  readonly cell: Cell;
  readonly costs: readonly UnitCost[];
  /** The whole step without hooks. */
  readonly stepMs: number;
  /** Part of the step with hooks that no unit explains. */
  readonly missingRatio: number;
}

/** What each unit costs, stacked by role, for decode and for prefill. */
export function chartUnitLatency(profile: ProfileDocument): ReportChart | null {
  const phases = (["decode", "prefill"] as const).flatMap((phase) => describePhase(profile, phase));
  if (phases.length === 0) return null;
  const groups = listGroups(phases.flatMap(({ costs }) => costs));
  return {
    id: "unit-latency",
    title: "Time of each unit",
    sentence: phases.map(describeCosts).join(" "),
    note: noteOf(profile, phases),
    legend: groups.map((group) => makeLegend(nameRole(group), "bar", paintOfRole(group))),
    panels: phases.map(drawPhase),
    table: makeTable(
      "Time of each unit by role, milliseconds for one step",
      ["unit", "phase", ...groups.map((group) => `#${nameRole(group)}`), "#sum", "#hooks", "#samples"],
      phases.flatMap(({ cell, costs }) =>
        costs.map((cost) => [
          nameUnit(cost.name),
          cell.phase,
          ...groups.map((group) => {
            const part = cost.parts.find((candidate) => candidate.group === group);
            return part === undefined ? "" : formatNumber(part.ms);
          }),
          formatNumber(cost.ms),
          formatNumber(cost.syncMs),
          cost.samples === 0 ? "inferred" : String(cost.samples),
        ]),
      ),
    ),
  };
}

function describePhase(profile: ProfileDocument, phase: Phase): PhaseCosts[] {
  const cell = chooseCell(profile, phase);
  if (cell === null) return [];
  const costs = listUnitCosts(profile, cell);
  if (costs.length === 0) return [];
  const missingRatio = findCell(profile, cell)?.missing_ratio ?? 0;
  return [{ cell, costs, stepMs: stepMsOf(profile, cell, costs), missingRatio }];
}

function describeCosts({ cell, costs, stepMs }: PhaseCosts): string {
  const totalMs = sum(costs.map(({ ms }) => ms));
  const most = costs.reduce((best, cost) => (cost.ms > best.ms ? cost : best));
  const blocks = costs.filter(({ name }) => name.startsWith("blk.")).map(({ ms }) => ms);
  const middleMs = median(blocks);
  const spread = middleMs > 0 ? quantile(blocks, 0.9) / quantile(blocks, 0.1) - 1 : 0;
  const head = `${cell.phase === "decode" ? "Decode" : "Prefill"} of ${cell.rows} row${cell.rows === 1 ? "" : "s"}: ${formatMs(totalMs)} in its units, of ${formatMs(stepMs)} for the whole step`;
  const share = (ms: number): string => formatPercent(stepMs > 0 ? ms / stepMs : 0);
  const others = costs
    .filter(({ name, ms }) => !name.startsWith("blk.") && ms >= OTHER_FROM * totalMs)
    .map(({ name, ms }) => `${nameUnit(name)} ${formatMs(ms)} (${share(ms)})`);
  const rest = others.length === 0 ? "" : `; ${joinWords(others)}`;
  if (blocks.length > 1 && most.ms < middleMs * ALIKE)
    return `${head}; a block takes ${formatMs(middleMs)} (${share(middleMs)}), and they are alike within ${formatPercent(spread)}${rest}.`;
  const compared =
    middleMs > 0 && costs.length > 2 ? `, ${formatRatio(most.ms / middleMs)} the block in the middle` : "";
  return `${head}; ${nameUnit(most.name)} takes longest, ${formatMs(most.ms)} (${share(most.ms)})${compared}.`;
}

function noteOf(profile: ProfileDocument, phases: readonly PhaseCosts[]): string {
  const cells = phases.map(({ cell }) => nameCell(cell)).join("; ");
  const syncMs = sum(phases.flatMap(({ costs }) => costs.map((cost) => cost.syncMs)));
  const allMs = syncMs + sum(phases.flatMap(({ costs }) => costs.map(({ ms }) => ms)));
  const inferred = new Set(
    phases.flatMap(({ costs }) => costs.filter(({ samples }) => samples === 0)).map(({ unit }) => unit),
  );
  return [
    `Medians of: ${cells}; level ${profile.settings.level}.`,
    syncMs > 0
      ? `The cost of looking, ${formatPercent(syncMs / allMs)} of the time, is taken off and stands in the table.`
      : "",
    ...phases.map(({ cell, missingRatio }) =>
      Math.abs(missingRatio) < MISSING_FROM
        ? ""
        : `In ${cell.phase} the parts and the hooks add up to ${formatPercent(Math.abs(missingRatio))} ${missingRatio > 0 ? "less" : "more"} than the step.`,
    ),
    inferred.size > 0 ? `${inferred.size} units were inferred from others of the same shape.` : "",
  ]
    .filter((words) => words !== "")
    .join(" ");
}

function drawPhase({ cell, costs }: PhaseCosts): ChartPanel {
  const labels = costs.map(({ name }) => nameUnitShort(name));
  return makePanel(
    `unit-latency-${cell.phase}`,
    makeAxis("unit", { kind: "category" }),
    makeAxis("ms for one step"),
    listGroups(costs).map((group) => {
      const ms = costs.map(({ parts }) => parts.find((part) => part.group === group)?.ms ?? 0);
      return makeBars(nameRole(group), paintOfRole(group), {
        x: labels,
        y: ms,
        hover: costs.map(({ name }, index) => `${nameUnit(name)}, ${nameRole(group)}: ${formatMs(ms[index] ?? 0)}`),
      });
    }),
    { title: nameCell(cell), wide: costs.length > 40 },
  );
}
