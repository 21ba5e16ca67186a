import { median, quantile } from "../../common/index.ts";
import type { HeatDigest } from "../digest/run-digest.ts";
import type { ReportChart } from "../document.ts";
import { nameUnitNumber } from "../names.ts";
import { capitalize, formatMs, formatNumber, formatRatio } from "../numbers.ts";
import { paintOf } from "../paint.ts";
import { makeAxis, makeLegend, makePanel, makeTable } from "./parts.ts";

/** One wild sample must not make all others look alike. */
const SCALE_QUANTILE = 0.99;
const SCALE_FACTOR = 1.5;
/** With fewer columns than this the halves of a run are too short to be compared. */
const MIN_COLUMNS = 16;
/** Of the slowest unit's time; a change of less is not worth a word. */
const MATTERS_FROM = 0.1;
const ROW_PX = 13;
/** Smaller differences are noise. */
const CHANGE_FROM = 0.1;

/** Time of each unit along the run, of the decode steps that were looked into. */
export function chartHeatMap(heat: HeatDigest, unitCount: number | null): ReportChart | null {
  if (heat.units.length === 0 || heat.columns.length === 0) return null;
  const names = heat.units.map((unit) => nameUnitNumber(unit, unitCount));
  const labels = heat.columns.map(({ firstStep, lastStep }) =>
    firstStep === lastStep ? String(firstStep) : `${firstStep}-${lastStep}`,
  );
  const rows = heat.ms.map((line) => line.filter((ms) => ms !== null));
  const all = rows.flat();
  const usual = SCALE_FACTOR * Math.max(...rows.map(median));
  const top = Math.max(Math.min(quantile(all, SCALE_QUANTILE), usual), Number.MIN_VALUE);
  return {
    id: "heat-map",
    title: "Units along the run",
    sentence: describe(heat, names, labels, rows),
    note: `Mean of the sampled decode steps of a column; ${heat.columns.length} columns. Times above ${formatMs(top)} have the strongest colour.`,
    legend: [makeLegend(`0 to ${formatMs(top)}`, "scale", paintOf(0))],
    panels: [
      makePanel(
        "heat-map-plot",
        makeAxis("step", { kind: "category" }),
        makeAxis("unit", { kind: "category", reversed: true }),
        [
          {
            type: "heat",
            name: "time",
            color: paintOf(0).color,
            x: labels,
            y: names,
            z: heat.ms,
            z_range: [0, top],
            z_title: "ms",
            hover: [],
          },
        ],
        { wide: true, height_px: Math.min(640, Math.max(220, 90 + heat.units.length * ROW_PX)) },
      ),
    ],
    table: makeTable(
      "Time of each unit in sampled decode steps, milliseconds",
      ["unit", "#smallest", "#median", "#95 of 100 below", "#largest"],
      rows.map((line, index) => [
        names[index] ?? "",
        formatNumber(Math.min(...line)),
        formatNumber(median(line)),
        formatNumber(quantile(line, 0.95)),
        formatNumber(Math.max(...line)),
      ]),
    ),
  };
}

function describe(
  heat: HeatDigest,
  names: readonly string[],
  labels: readonly string[],
  rows: readonly (readonly number[])[],
): string {
  const medians = rows.map(median);
  const slowest = medians.indexOf(Math.max(...medians));
  const middleMs = median(medians);
  const slowestMs = medians[slowest] ?? 0;
  const most = `${capitalize(names[slowest] ?? "")} takes longest, ${formatMs(slowestMs)} (median), ${formatRatio(middleMs > 0 ? slowestMs / middleMs : 0)} the unit in the middle`;
  if (heat.columns.length < 2) return `${most}.`;
  return [`${most}.`, describeChange(heat, names), describeWorst(heat, labels, medians)]
    .filter((words) => words !== "")
    .join(" ");
}

/** Units whose time in the second half of the run is not that of the first. */
function describeChange(heat: HeatDigest, names: readonly string[]): string {
  if (heat.columns.length < MIN_COLUMNS) return "";
  const half = Math.floor(heat.columns.length / 2);
  const least = MATTERS_FROM * Math.max(...heat.ms.map((line) => median(line.filter((ms) => ms !== null))));
  const ratios = heat.ms.map((line) => {
    const [early, late] = [line.slice(0, half), line.slice(half)].map((part) =>
      median(part.filter((ms) => ms !== null)),
    );
    return early !== undefined && late !== undefined && Math.min(early, late) > least ? late / early : 1;
  });
  const changed = ratios.flatMap((ratio, row) => (Math.abs(ratio - 1) >= CHANGE_FROM ? [row] : []));
  if (changed.length === 0) return "Their times stay the same from the first half of the run to the second.";
  const strongest = changed.reduce((best, row) =>
    Math.abs(Math.log(ratios[row] ?? 1)) > Math.abs(Math.log(ratios[best] ?? 1)) ? row : best,
  );
  const who =
    changed.length === 1
      ? `${names[strongest] ?? ""} takes`
      : `${changed.length} units (${names[changed[0] ?? 0] ?? ""} to ${names[changed.at(-1) ?? 0] ?? ""}) changed, most of all ${names[strongest] ?? ""}: it takes`;
  return `${capitalize(who)} ${formatRatio(ratios[strongest] ?? 1)} as long in the second half of the run as in the first.`;
}

/** A column is slow when its units are, each against its own usual time. */
function describeWorst(heat: HeatDigest, labels: readonly string[], medians: readonly number[]): string {
  const columns = heat.columns.map((_, column) =>
    median(
      heat.ms.flatMap((line, row) => {
        const ms = line[column];
        const usual = medians[row] ?? 0;
        return typeof ms === "number" && usual > 0 ? [ms / usual] : [];
      }),
    ),
  );
  const worst = columns.indexOf(Math.max(...columns));
  const ratio = columns[worst] ?? 1;
  return ratio - 1 < CHANGE_FROM
    ? ""
    : `The slowest moment was step ${labels[worst] ?? ""}, where units took ${formatRatio(ratio)} their usual time.`;
}
