import type { CostClass, CostTable, ProfileDocument } from "../../profile/index.ts";
import type { ChartPanel, ReportChart } from "../document.ts";
import { nameClass } from "../names.ts";
import { formatMs, formatNumber, formatPercent, formatRatio, joinWords } from "../numbers.ts";
import { paintOfClass } from "../paint.ts";
import { listLogTicks, makeAxis, makeLegend, makePanel, makePoints, makeTable } from "./parts.ts";

interface Point {
  readonly at: number;
  readonly ms: number;
}

interface Curve {
  readonly name: string;
  readonly label: string;
  /** Units of the class. */
  readonly count: number;
  readonly points: readonly Point[];
}

interface View {
  readonly id: string;
  readonly title: string;
  readonly axis: string;
  readonly log: boolean;
  readonly curves: readonly Curve[];
}

/** The cost model: measured cells, and the straight lines between them that planner and simulator go by. */
export function chartCostCurves(profile: ProfileDocument): ReportChart | null {
  const { classes } = profile.cost_model;
  const views = [
    viewRows(classes, "decode"),
    viewRows(classes, "prefill"),
    viewContexts(classes, "decode"),
    viewContexts(classes, "prefill"),
  ].filter(({ curves }) => curves.some(({ points }) => points.length > 1));
  if (views.length === 0) return null;
  const names = classes.map(({ name }) => name);
  const shown = names.filter((name) => views.some(({ curves }) => curves.some((curve) => curve.name === name)));
  return {
    id: "cost-curves",
    title: "Cost against rows and context",
    sentence: views
      .map(describeView)
      .filter((words) => words !== "")
      .join(" "),
    note: `Time of one unit of a kind. Points were measured; the planner goes along the lines between them.${describeErrors(classes)}`,
    legend: shown.map((name) => makeLegend(nameClass(name), "line", paintOfClass(name, names))),
    panels: views.map((view) => draw(view, names)),
    table: makeTable(
      "Measured cost of one unit, milliseconds",
      ["kind of unit", "view", "#rows or tokens", "#ms"],
      views.flatMap(({ title, curves }) =>
        curves.flatMap(({ label, points }) => points.map(({ at, ms }) => [label, title, String(at), formatNumber(ms)])),
      ),
    ),
  };
}

function viewRows(classes: readonly CostClass[], phase: "decode" | "prefill"): View {
  const context = smallest(classes.flatMap((entry) => entry[phase].contexts));
  return {
    id: `${phase}-rows`,
    title: `${phase} against rows, ${context === 0 ? "empty context" : `${context} tokens of context`}`,
    axis: "rows in one step",
    log: true,
    curves: classes.map((entry) => makeCurve(entry, pickAlongRows(entry[phase], context))),
  };
}

function viewContexts(classes: readonly CostClass[], phase: "decode" | "prefill"): View {
  const all = classes.flatMap((entry) => entry[phase].rows);
  const rows = phase === "decode" ? smallest(all) : Math.max(...all, 0);
  return {
    id: `${phase}-context`,
    title: `${phase} of ${rows} row${rows === 1 ? "" : "s"} against context`,
    axis: "tokens of context",
    log: false,
    curves: classes.map((entry) => makeCurve(entry, pickAlongContexts(entry[phase], rows))),
  };
}

function makeCurve({ name, units }: CostClass, points: readonly Point[]): Curve {
  return { name, label: nameClass(name), count: units.length, points };
}

function pickAlongRows({ rows, contexts, ms }: CostTable, context: number): readonly Point[] {
  const column = contexts.indexOf(context);
  return rows.flatMap((at, index) => makePoint(at, ms[index]?.[column]));
}

function pickAlongContexts({ rows, contexts, ms }: CostTable, row: number): readonly Point[] {
  const line = ms[rows.indexOf(row)];
  return contexts.flatMap((at, index) => makePoint(at, line?.[index]));
}

function makePoint(at: number, ms: number | null | undefined): Point[] {
  return typeof ms === "number" && ms > 0 ? [{ at, ms }] : [];
}

/** What the whole model costs at both ends, of the classes that were measured at both. */
function describeView({ id, curves }: View): string {
  const ends = curves.flatMap(({ points, count }) => {
    const [first, last] = [points[0], points.at(-1)];
    return first === undefined || last === undefined || first === last ? [] : [{ first, last, count }];
  });
  const head = ends[0];
  if (head === undefined) return "";
  const same = ends.filter(({ first, last }) => first.at === head.first.at && last.at === head.last.at);
  const firstMs = same.reduce((total, { first, count }) => total + first.ms * count, 0);
  const lastMs = same.reduce((total, { last, count }) => total + last.ms * count, 0);
  const ratio = lastMs / firstMs;
  const [from, to] = [head.first.at, head.last.at];
  if (id === "decode-rows")
    return `${to} rows in one decode step cost ${formatRatio(ratio)} what ${from} ${from === 1 ? "row does" : "rows do"}: ${formatRatio(to / from / ratio)} the tokens in the same time.`;
  if (id === "prefill-rows")
    return `In prefill a row costs ${formatMs(firstMs / from)} at ${from} rows and ${formatMs(lastMs / to)} at ${to}.`;
  const change = ratio >= 1 ? `${formatPercent(ratio - 1)} more` : `${formatPercent(1 - ratio)} less`;
  return `${id === "decode-context" ? "A decode step" : "A prefill step"} costs ${change} at ${to} tokens of context than at ${from}.`;
}

/** How well the lines hold, for the class that takes most of a step first. */
function describeErrors(classes: readonly CostClass[]): string {
  const errors = classes.flatMap(({ name, units, decode, prefill }) => {
    const ratios = [decode, prefill].flatMap(({ loo_error_ratio: ratio }) => (ratio === null ? [] : [ratio]));
    const ms = Math.max(...decode.ms.flat().map((cell) => cell ?? 0), 0) * units.length;
    return ratios.length === 0 ? [] : [{ name: nameClass(name), ms, ratio: Math.max(...ratios) }];
  });
  if (errors.length === 0) return "";
  const words = errors.sort((a, b) => b.ms - a.ms).map(({ name, ratio }) => `${formatPercent(ratio)} (${name})`);
  return ` A measured point that is left out and predicted from its neighbours is off by ${joinWords(words)} on average.`;
}

function draw({ id, title, axis, log, curves }: View, names: readonly string[]): ChartPanel {
  const drawn = curves.filter(({ points }) => points.length > 0);
  const ticks = [...new Set(drawn.flatMap(({ points }) => points.map(({ at }) => at)))].sort((a, b) => a - b);
  const times = drawn.flatMap(({ points }) => points.map(({ ms }) => ms));
  const [low, high] = [Math.min(...times) / 1.5, Math.max(...times) * 1.5];
  return makePanel(
    `cost-${id}`,
    makeAxis(axis, { kind: log ? "log" : "linear", ticks, from_zero: false }),
    makeAxis("ms for one unit", { kind: "log", from_zero: false, range: [low, high], ticks: listLogTicks(low, high) }),
    drawn.map(({ name, label, points }) =>
      makePoints(label, paintOfClass(name, names), {
        x: points.map(({ at }) => at),
        y: points.map(({ ms }) => ms),
        hover: points.map(({ at, ms }) => `${label}, ${at} ${log ? "rows" : "tokens of context"}: ${formatMs(ms)}`),
      }),
    ),
    { title, height_px: 280 },
  );
}

function smallest(values: readonly number[]): number {
  return values.length === 0 ? 0 : Math.min(...values);
}
