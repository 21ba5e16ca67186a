import { z } from "zod";
import { COLOR_NAMES } from "./paint.ts";

const color = z.enum(COLOR_NAMES);
const pattern = z.enum(["", "/", "\\", "x", "-", "|", "+", "."]);
const symbol = z.enum([
  "circle",
  "square",
  "diamond",
  "triangle-up",
  "triangle-down",
  "cross",
  "x",
  "star",
  "circle-open",
  "diamond-open",
]);
const dash = z.enum(["solid", "dash", "dot", "dashdot", "longdash"]);
const numberOrText = z.union([z.number(), z.string()]);
const pair = z.tuple([z.number(), z.number()]);

const legend = z.array(
  z.object({
    label: z.string(),
    mark: z.enum(["bar", "line", "rule", "point", "scale"]),
    color,
    pattern,
    symbol,
    dash,
  }),
);

const axis = z.object({
  title: z.string(),
  kind: z.enum(["linear", "log", "category"]),
  ticks: z.array(z.number()).nullable(),
  categories: z.array(z.string()).nullable(),
  reversed: z.boolean(),
  from_zero: z.boolean(),
  range: pair.nullable(),
});

const named = { name: z.string(), color, hover: z.array(z.string()) };

const trace = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("bar"),
    ...named,
    horizontal: z.boolean(),
    pattern,
    x: z.array(numberOrText),
    y: z.array(numberOrText),
    base: z.array(z.number()).nullable(),
    text: z.array(z.string()).nullable(),
  }),
  z.object({
    type: z.literal("points"),
    ...named,
    line: z.boolean(),
    markers: z.boolean(),
    symbol,
    dash,
    x: z.array(numberOrText),
    y: z.array(numberOrText.nullable()),
  }),
  z.object({
    type: z.literal("heat"),
    ...named,
    x: z.array(z.string()),
    y: z.array(z.string()),
    z: z.array(z.array(z.number().nullable())),
    z_range: pair,
    z_title: z.string(),
  }),
]);

const panel = z.object({
  id: z.string(),
  title: z.string().nullable(),
  x: axis,
  y: axis,
  bars: z.enum(["stack", "group", "overlay"]),
  height_px: z.number(),
  wide: z.boolean(),
  legend,
  traces: z.array(trace),
  moments: z.array(z.object({ x: z.number(), label: z.string() })),
});

const table = z.object({
  caption: z.string(),
  columns: z.array(z.object({ title: z.string(), numeric: z.boolean() })),
  rows: z.array(z.array(z.string())),
  rows_left_out: z.int().min(0),
});

const chart = z.object({
  id: z.string(),
  title: z.string(),
  sentence: z.string(),
  note: z.string().nullable(),
  legend,
  panels: z.array(panel),
  table,
});

/** The form of a `ReportDocument`; its fields are described there. */
export const reportSchema = z.object({
  schema: z.literal("noodle.report.v1"),
  noodlecore_version: z.string(),
  title: z.string(),
  subtitle: z.string(),
  statements: z.array(z.string()),
  remedies: z.array(
    z.object({
      phase: z.enum(["prefill", "decode"]),
      words: z.string(),
      gain_ratio: z.number(),
      because: z.string(),
    }),
  ),
  figures: z.array(z.object({ label: z.string(), value: z.string(), detail: z.string() })),
  sections: z.array(z.object({ id: z.string(), title: z.string(), charts: z.array(chart) })),
  missing: z.array(z.object({ what: z.string(), how: z.string() })),
  sources: z.array(z.object({ name: z.string(), detail: z.string(), damaged: z.boolean() })),
});
