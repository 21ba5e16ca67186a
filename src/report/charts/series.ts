import { median } from "../../common/index.ts";
import type { SeriesDigest, SeriesPoint, Spread } from "../digest/run-digest.ts";
import type { RunDigest } from "../digest/run-digest.ts";
import type { ChartPanel, ReportChart } from "../document.ts";
import { formatDuration, formatMs, formatNumber, formatPercent } from "../numbers.ts";
import { type Paint, paintOf } from "../paint.ts";
import { makeAxis, makeLegend, makePanel, makePoints, makeTable } from "./parts.ts";
import { nameStage } from "./timeline.ts";

const MAX_STAGES_DRAWN = 8;
const MAX_MOMENTS = 20;
/** Beside the first and the last point, of the time between them. */
const MARGIN = 0.02;
/** Of fewer than this there is no slowest twentieth. */
const MIN_FOR_P95 = 20;
/** Fewer moments than this are no course of time. */
const MIN_POINTS = 4;
/** With more moments than this a line without marks reads better; what is rare has gaps beside it and needs them. */
const MAX_MARKED = 60;
const P50 = paintOf(0);
const P95 = paintOf(3);

interface Line {
  readonly name: string;
  readonly paint: Paint;
  readonly values: readonly (number | null)[];
}

/** Throughput and latencies along the run. */
export function chartSeries(digest: RunDigest): ReportChart | null {
  const { series } = digest;
  if (series === null || series.points.length < MIN_POINTS) return null;
  const unit = chooseTimeUnit(digest.durationS);
  const at = series.points.map(({ atS }) => atS / unit.seconds);
  // The first plan is where a run begins.
  const moments = digest.plans.slice(1, MAX_MOMENTS).map(({ atS }) => ({ x: atS / unit.seconds, label: "new plan" }));
  const [first, last] = [at[0] ?? 0, at.at(-1) ?? 1];
  const margin = MARGIN * (last - first);
  const time = { title: `time, ${unit.name}`, range: [first - margin, last + margin] as const };
  const draw = (id: string, title: string, axis: string, lines: readonly Line[]): ChartPanel[] =>
    lines.some(({ values }) => values.filter((value) => value !== null).length > 1)
      ? [drawPanel(id, title, { axis, time, at, lines, moments })]
      : [];
  const stageLines = digest.stages.slice(0, MAX_STAGES_DRAWN).map((stage) => ({
    name: nameStage(stage),
    paint: paintOf(stage.stage),
    values: series.points.map(({ stageComputeMs }) => stageComputeMs[stage.stage] ?? null),
  }));
  const panels = [
    ...draw("series-throughput", "tokens per second", "tokens/s", [
      { name: "tokens/s", paint: P50, values: series.points.map(({ tokensPerS }) => tokensPerS) },
    ]),
    ...draw("series-ttft", "time to first token", "ms", spreadLines(series, "ttftMs")),
    ...draw("series-itl", "time between tokens", "ms", spreadLines(series, "itlMs")),
    ...draw("series-stages", "compute time of each stage (decode, median)", "ms", stageLines),
  ];
  return {
    id: "series",
    title: "Along the run",
    sentence: describe(digest, series),
    note: `Each point stands for ${formatDuration(series.binS)}.${moments.length > 0 ? " Dashed lines: a new plan." : ""}`,
    legend: [],
    panels,
    table: makeTable(
      "Throughput and latencies along the run",
      [`time, ${unit.name}`, "#tokens/s", "#TTFT p50, ms", "#TTFT p95, ms", "#ITL p50, ms", "#ITL p95, ms"],
      series.points.map(({ tokensPerS, ttftMs, itlMs }, index) => [
        formatNumber(at[index] ?? 0),
        formatNumber(tokensPerS),
        ...[ttftMs, itlMs].flatMap((spread) => [formatNumberOr(spread?.p50), formatNumberOr(spread?.p95)]),
      ]),
    ),
  };
}

function drawPanel(
  id: string,
  title: string,
  drawing: {
    readonly axis: string;
    readonly time: { readonly title: string; readonly range: readonly [number, number] };
    readonly at: readonly number[];
    readonly lines: readonly Line[];
    readonly moments: ChartPanel["moments"];
  },
): ChartPanel {
  const { axis, time, at, lines, moments } = drawing;
  return makePanel(
    id,
    makeAxis(time.title, { from_zero: false, range: time.range }),
    makeAxis(axis),
    lines.map(({ name, paint, values }) =>
      makePoints(name, paint, {
        markers: values.filter((value) => value !== null).length <= MAX_MARKED,
        x: at,
        y: values,
        hover: values.map(
          (value, index) => `${name}: ${formatNumberOr(value)} at ${formatNumber(at[index] ?? 0)} (${time.title})`,
        ),
      }),
    ),
    {
      title,
      height_px: 230,
      moments,
      legend: lines.length > 1 ? lines.map(({ name, paint }) => makeLegend(name, "line", paint)) : [],
    },
  );
}

function spreadLines(series: SeriesDigest, key: "ttftMs" | "itlMs"): readonly Line[] {
  const pick = (take: (spread: Spread) => number): (number | null)[] =>
    series.points.map((point: SeriesPoint) => (point[key] === null ? null : take(point[key])));
  return [
    { name: "median", paint: P50, values: pick(({ p50 }) => p50) },
    { name: "95 of 100 are faster", paint: P95, values: pick(({ p95 }) => p95) },
  ];
}

function describe({ durationS, requests }: RunDigest, { points }: SeriesDigest): string {
  const rates = points.map(({ tokensPerS }) => tokensPerS);
  const half = Math.floor(rates.length / 2);
  const [early, late] = [median(rates.slice(0, half)), median(rates.slice(half))];
  const change = early > 0 ? late / early - 1 : 0;
  const course =
    Math.abs(change) < 0.05
      ? "as fast in its second half as in its first"
      : `${formatPercent(Math.abs(change))} ${change > 0 ? "faster" : "slower"} in its second half than in its first`;
  const ttft = requests.ttftMs === null ? "" : ` The first token came after ${describeSpread(requests.ttftMs)}.`;
  const itl = requests.itlMs === null ? "" : ` Between two tokens lay ${describeSpread(requests.itlMs)}.`;
  return `Over ${formatDuration(durationS)} the run made ${formatNumber(median(rates))} tokens per second (median); it was ${course}.${ttft}${itl}`;
}

function describeSpread({ count, p50, p95 }: Spread): string {
  return count < MIN_FOR_P95 ? formatMs(p50) : `${formatMs(p50)} (95 of 100 within ${formatMs(p95)})`;
}

function chooseTimeUnit(durationS: number): { readonly name: string; readonly seconds: number } {
  if (durationS > 3 * 3600) return { name: "h", seconds: 3600 };
  return durationS > 300 ? { name: "min", seconds: 60 } : { name: "s", seconds: 1 };
}

function formatNumberOr(value: number | null | undefined): string {
  return value === null || value === undefined ? "" : formatNumber(value);
}
