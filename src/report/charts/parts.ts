import type {
  BarTrace,
  ChartAxis,
  ChartPanel,
  ChartTrace,
  LegendItem,
  PointTrace,
  ReportTable,
  TableColumn,
} from "../document.ts";
import type { Paint } from "../paint.ts";

/** A table longer than this is cut; nobody reads it to the end, and the data lies beside the page. */
const MAX_TABLE_ROWS = 300;

export function makeAxis(title: string, options: Partial<ChartAxis> = {}): ChartAxis {
  return {
    title,
    kind: "linear",
    ticks: null,
    categories: null,
    reversed: false,
    from_zero: true,
    range: null,
    ...options,
  };
}

export function makePanel(
  id: string,
  x: ChartAxis,
  y: ChartAxis,
  traces: readonly ChartTrace[],
  options: Partial<ChartPanel> = {},
): ChartPanel {
  return {
    id,
    title: null,
    x,
    y,
    bars: "stack",
    height_px: 320,
    wide: false,
    legend: [],
    traces,
    moments: [],
    ...options,
  };
}

export function makeBars(
  name: string,
  paint: Paint,
  data: Pick<BarTrace, "x" | "y" | "hover"> & Partial<Pick<BarTrace, "horizontal" | "base" | "text">>,
): BarTrace {
  return {
    type: "bar",
    name,
    color: paint.color,
    pattern: paint.pattern,
    horizontal: false,
    base: null,
    text: null,
    ...data,
  };
}

export function makePoints(
  name: string,
  paint: Paint,
  data: Pick<PointTrace, "x" | "y" | "hover"> & Partial<Pick<PointTrace, "line" | "markers">>,
): PointTrace {
  return {
    type: "points",
    name,
    color: paint.color,
    symbol: paint.symbol,
    dash: paint.dash,
    line: true,
    markers: true,
    ...data,
  };
}

export function makeLegend(label: string, mark: LegendItem["mark"], paint: Paint): LegendItem {
  return { label, mark, ...paint };
}

/** Round places on a logarithmic axis: powers of ten, with 2 and 5 between them where there are few. */
export function listLogTicks(from: number, to: number): readonly number[] {
  const [low, high] = [Math.floor(Math.log10(from)), Math.ceil(Math.log10(to))];
  if (!Number.isFinite(low) || !Number.isFinite(high) || high - low > 60) return [];
  const steps = Math.log10(to / from) > 3 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = low; power <= high; power++) {
    for (const step of steps) {
      const value = Number(`${step}e${power}`);
      if (value >= from * 0.999 && value <= to * 1.001) ticks.push(value);
    }
  }
  return ticks;
}

/** Columns whose title begins with `#` are numbers. */
export function makeTable(
  caption: string,
  titles: readonly string[],
  rows: readonly (readonly string[])[],
): ReportTable {
  const columns: readonly TableColumn[] = titles.map((title) =>
    title.startsWith("#") ? { title: title.slice(1), numeric: true } : { title, numeric: false },
  );
  return {
    caption,
    columns,
    rows: rows.slice(0, MAX_TABLE_ROWS),
    rows_left_out: Math.max(0, rows.length - MAX_TABLE_ROWS),
  };
}
