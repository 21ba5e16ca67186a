import type { ColorName, DashName, PatternName, SymbolName } from "./paint.ts";

/**
 * `noodle.report.v1`: all that the page shows, as data. Words are computed; charts are traces without a layout (the page
 * gives them colours and sizes), each with the table of the same numbers.
 */
export interface ReportDocument {
  readonly schema: "noodle.report.v1";
  readonly noodlecore_version: string;
  readonly title: string;
  /** One line under the title: what was looked at, on which machine. */
  readonly subtitle: string;
  /** At most three: what matters most comes first. */
  readonly statements: readonly string[];
  /** What would help, the largest gain first. */
  readonly remedies: readonly ReportRemedy[];
  /** A few numbers to know by heart. */
  readonly figures: readonly ReportFigure[];
  readonly sections: readonly ReportSection[];
  /** What could be shown with other inputs, and how to get them. */
  readonly missing: readonly ReportMissing[];
  /** What was read, with the rows that could not be. */
  readonly sources: readonly ReportSource[];
}

export interface ReportRemedy {
  readonly phase: "prefill" | "decode";
  readonly words: string;
  /** Of what time it is, 0-1. */
  readonly gain_ratio: number;
  /** The figures that the estimate was made of. */
  readonly because: string;
}

export interface ReportFigure {
  readonly label: string;
  readonly value: string;
  readonly detail: string;
}

export interface ReportSection {
  readonly id: string;
  readonly title: string;
  readonly charts: readonly ReportChart[];
}

export interface ReportChart {
  readonly id: string;
  readonly title: string;
  /** What is to be seen, with its numbers. */
  readonly sentence: string;
  /** How the numbers came about, where that is not plain; null otherwise. */
  readonly note: string | null;
  readonly legend: readonly LegendItem[];
  /** Small multiples: one plot each. */
  readonly panels: readonly ChartPanel[];
  readonly table: ReportTable;
}

export interface LegendItem {
  readonly label: string;
  /** `rule` is a line without points. */
  readonly mark: "bar" | "line" | "rule" | "point" | "scale";
  readonly color: ColorName;
  readonly pattern: PatternName;
  readonly symbol: SymbolName;
  readonly dash: DashName;
}

export interface ChartPanel {
  readonly id: string;
  readonly title: string | null;
  readonly x: ChartAxis;
  readonly y: ChartAxis;
  readonly bars: "stack" | "group" | "overlay";
  readonly height_px: number;
  /** As wide as the page instead of sharing a line with the next one. */
  readonly wide: boolean;
  /** What only this plot has; what all share stands above them. */
  readonly legend: readonly LegendItem[];
  readonly traces: readonly ChartTrace[];
  /** Moments that matter, as dashed lines across the plot. */
  readonly moments: readonly { readonly x: number; readonly label: string }[];
}

export interface ChartAxis {
  readonly title: string;
  readonly kind: "linear" | "log" | "category";
  /** Where labels stand; null leaves it to the page. */
  readonly ticks: readonly number[] | null;
  /** Order of the categories; null takes them as the traces have them. */
  readonly categories: readonly string[] | null;
  /** First category on top. */
  readonly reversed: boolean;
  readonly from_zero: boolean;
  /** Ends of the axis in its own unit; null leaves it to the data. */
  readonly range: readonly [number, number] | null;
}

interface NamedTrace {
  readonly name: string;
  readonly color: ColorName;
  /** A line of text for each point, shown under the pointer. */
  readonly hover: readonly string[];
}

export interface BarTrace extends NamedTrace {
  readonly type: "bar";
  readonly horizontal: boolean;
  readonly pattern: PatternName;
  readonly x: readonly (number | string)[];
  readonly y: readonly (number | string)[];
  /** Where each bar begins; null stacks or groups them. */
  readonly base: readonly number[] | null;
  /** Written on each bar; null writes nothing. */
  readonly text: readonly string[] | null;
}

export interface PointTrace extends NamedTrace {
  readonly type: "points";
  readonly line: boolean;
  readonly markers: boolean;
  readonly symbol: SymbolName;
  readonly dash: DashName;
  readonly x: readonly (number | string)[];
  readonly y: readonly (number | string | null)[];
}

export interface HeatTrace extends NamedTrace {
  readonly type: "heat";
  readonly x: readonly string[];
  readonly y: readonly string[];
  /** z[i][j] belongs to y[i] and x[j]; null where nothing was measured. */
  readonly z: readonly (readonly (number | null)[])[];
  readonly z_range: readonly [number, number];
  readonly z_title: string;
}

export type ChartTrace = BarTrace | PointTrace | HeatTrace;

export interface ReportTable {
  readonly caption: string;
  readonly columns: readonly TableColumn[];
  /** The first cell of a row names it. */
  readonly rows: readonly (readonly string[])[];
  /** Rows that were left out; the document beside the page has the charts' full data. */
  readonly rows_left_out: number;
}

export interface TableColumn {
  readonly title: string;
  readonly numeric: boolean;
}

export interface ReportMissing {
  readonly what: string;
  readonly how: string;
}

export interface ReportSource {
  readonly name: string;
  /** What it gave, in words. */
  readonly detail: string;
  /** Something in it could not be read. */
  readonly damaged: boolean;
}
