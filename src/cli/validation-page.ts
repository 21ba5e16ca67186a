import { loadPageAssets, renderPage, type ReportDocument } from "../report/index.ts";
import type { ValidationDocument } from "../validate/index.ts";
import { PACKAGE_VERSION } from "./package.ts";
import { formatMs } from "./quantities.ts";
import { describeValidation } from "./validation-view.ts";
import { writeWhole } from "./write-whole.ts";

type Chart = ReportDocument["sections"][number]["charts"][number];
type Axis = Chart["panels"][number]["x"];
type Key = "tokens_per_s" | "ttft_ms" | "itl_ms";

const METRICS = [
  { key: "tokens_per_s", title: "Throughput", unit: "tokens/s" },
  { key: "ttft_ms", title: "First token", unit: "ms" },
  { key: "itl_ms", title: "Token to token", unit: "ms" },
] as const satisfies readonly { key: Key; title: string; unit: string }[];

/** Writes a validation as a page that needs no network. */
export async function writeValidationPage(path: string, document: ValidationDocument): Promise<void> {
  await writeWhole(path, renderPage(makeValidationPage(document), await loadPageAssets()));
}

/** The page as data. */
export function makeValidationPage(document: ValidationDocument): ReportDocument {
  const { load, summary, plans, repetitions } = document;
  const speeds = document.workers.map(({ slowness }) => slowness).join(", ");
  return {
    schema: "noodle.report.v1",
    noodlecore_version: PACKAGE_VERSION,
    title: document.model.name ?? document.model.architecture,
    subtitle: `Predicted and run: ${plans.length} plans, ${repetitions} runs each, workers that take ${speeds} times as long; ${load.requests} requests of ${load.prompt_tokens} + ${load.gen_tokens} tokens, ${load.streams} at a time`,
    statements: describeValidation(document).slice(0, 3),
    remedies: [],
    figures: summary.goals.slice(0, 6).map(({ name, value, limit, side, met }) => ({
      label: name,
      value: name === "rank correlation" ? value.toFixed(3) : percent(value),
      detail: `${met ? "goal met" : "goal missed"}: ${side === "most" ? "at most" : "at least"} ${name === "rank correlation" ? limit : percent(limit)}`,
    })),
    sections: [
      {
        id: "plans",
        title: "Predicted beside measured",
        charts: METRICS.map((metric) => chartMetric(document, metric)),
      },
    ],
    missing: [],
    sources: [
      {
        name: "validation",
        detail: `${document.machine.cpu}, ${document.machine.cores} cores, ${document.threads} threads of each worker`,
        damaged: false,
      },
    ],
  };
}

function chartMetric({ plans, summary }: ValidationDocument, { key, title, unit }: (typeof METRICS)[number]): Chart {
  const names = plans.map(({ name }) => name);
  const bars = [
    { name: "predicted", color: "c1", values: plans.map((plan) => plan[key].predicted) },
    { name: "measured", color: "c2", values: plans.map((plan) => plan[key].measured.mean) },
  ] as const;
  const { mean_absolute: meanAbsolute, max_absolute: maxAbsolute } = summary[key];
  return {
    id: `metric-${key}`,
    title,
    sentence: `Off by ${percent(meanAbsolute)} on the average, by ${percent(maxAbsolute)} at most.`,
    note: null,
    legend: bars.map(({ name, color }) => ({
      label: name,
      mark: "bar",
      color,
      pattern: "",
      symbol: "square",
      dash: "solid",
    })),
    panels: [
      {
        id: `metric-${key}-plot`,
        title: null,
        x: { ...makeAxis("", "category"), categories: names },
        y: { ...makeAxis(unit, "linear"), from_zero: true },
        bars: "group",
        height_px: 320,
        wide: true,
        legend: [],
        moments: [],
        traces: bars.map(({ name, color, values }) => ({
          type: "bar",
          name,
          color,
          pattern: "",
          horizontal: false,
          x: names,
          y: values,
          base: null,
          text: values.map(() => ""),
          hover: values.map((value, index) => `${names[index] ?? ""}, ${name}: ${formatMs(value)} ${unit}`),
        })),
      },
    ],
    table: {
      caption: `${title}, ${unit}`,
      columns: ["plan", "split", "predicted", "measured", "95% from", "to", "error"].map((column, index) => ({
        title: column,
        numeric: index > 1,
      })),
      rows: plans.map((plan) => [
        plan.name,
        plan.split,
        formatMs(plan[key].predicted),
        formatMs(plan[key].measured.mean),
        formatMs(plan[key].measured.low),
        formatMs(plan[key].measured.high),
        signed(plan[key].error.mean),
      ]),
      rows_left_out: 0,
    },
  };
}

function makeAxis(title: string, kind: Axis["kind"]): Axis {
  return { title, kind, ticks: null, categories: null, reversed: false, from_zero: false, range: null };
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(1)}%`;
}

function signed(ratio: number): string {
  return `${ratio >= 0 ? "+" : "-"}${percent(Math.abs(ratio))}`;
}
