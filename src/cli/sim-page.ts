import type { ModelPlan } from "../placement/index.ts";
import { loadPageAssets, renderPage, type ReportDocument } from "../report/index.ts";
import type { SimulationDocument } from "../sim/index.ts";
import { PACKAGE_VERSION } from "./package.ts";
import { formatMs } from "./quantities.ts";
import { describeSimulation, sayEnd } from "./sim-view.ts";
import { writeWhole } from "./write-whole.ts";

type Chart = ReportDocument["sections"][number]["charts"][number];
type Panel = Chart["panels"][number];
type Axis = Panel["x"];

const QUANTILES = ["p50", "p90", "p95", "p99", "max"] as const;

/** Writes a simulation as a page that needs no network. */
export async function writeSimulationPage(
  path: string,
  document: SimulationDocument,
  workload: string,
  plan: ModelPlan,
): Promise<void> {
  await writeWhole(path, renderPage(makePage(document, workload, plan), await loadPageAssets()));
}

/** The page as data. */
export function makePage(document: SimulationDocument, workload: string, plan: ModelPlan): ReportDocument {
  const { throughput, ttft_ms: ttft, itl_ms: itl, requests } = document;
  return {
    schema: "noodle.report.v1",
    noodlecore_version: PACKAGE_VERSION,
    title: plan.model.name ?? plan.model.architecture,
    subtitle: `Simulated: ${workload}; ${plan.split ?? ""} on ${plan.order.join(", ")}; seed ${document.seed}`,
    statements: describeSimulation(document, workload).slice(0, 3),
    remedies: [],
    figures: [
      {
        label: "tokens a second",
        value: throughput.tokens_per_s.toFixed(1),
        detail: `${requests.generated_tokens} tokens in ${(document.simulated_ms / 1000).toFixed(1)} s`,
      },
      {
        label: "first token, p50",
        value: `${formatMs(ttft?.p50 ?? null)} ms`,
        detail: `p95 ${formatMs(ttft?.p95 ?? null)} ms`,
      },
      {
        label: "token to token, p50",
        value: `${formatMs(itl?.p50 ?? null)} ms`,
        detail: `p95 ${formatMs(itl?.p95 ?? null)} ms`,
      },
    ],
    sections: [
      { id: "times", title: "What requests meet", charts: [chartTimes(document)] },
      { id: "parts", title: "What is busy", charts: [chartStages(document), chartLinks(document)] },
    ],
    missing: [],
    sources: [
      {
        name: "simulation",
        detail: `${document.events} events, hash ${document.event_hash}: the same input and seed give the same`,
        damaged: false,
      },
    ],
  };
}

function chartTimes(document: SimulationDocument): Chart {
  const series = [
    { name: "first token", values: document.ttft_ms, color: "c1", symbol: "circle", dash: "solid" },
    { name: "token to token", values: document.itl_ms, color: "c2", symbol: "square", dash: "dash" },
    { name: "whole request", values: document.e2e_ms, color: "c3", symbol: "diamond", dash: "dot" },
    { name: "wait for a slot", values: document.queue_ms, color: "c4", symbol: "triangle-up", dash: "dashdot" },
  ] as const;
  return {
    id: "quantiles",
    title: "Times of requests",
    sentence: `Half of the requests have their first token within ${formatMs(document.ttft_ms?.p50 ?? null)} ms, 99 of 100 within ${formatMs(document.ttft_ms?.p99 ?? null)} ms.`,
    note: null,
    legend: series.map(({ name, color, symbol, dash }) => ({
      label: name,
      mark: "line",
      color,
      pattern: "",
      symbol,
      dash,
    })),
    panels: [
      makePanel("quantiles-plot", {
        x: makeAxis("share of requests", "category"),
        y: makeAxis("ms", "log"),
        traces: series.map(({ name, values, color, symbol, dash }) => ({
          type: "points",
          name,
          color,
          symbol,
          dash,
          line: true,
          markers: true,
          x: [...QUANTILES],
          // A logarithmic axis has no place for 0.
          y: QUANTILES.map((key) => (values === null || values[key] <= 0 ? null : values[key])),
          hover: QUANTILES.map((key) => `${name} ${key}: ${formatMs(values?.[key] ?? null)} ms`),
        })),
      }),
    ],
    table: {
      caption: "Times in ms",
      columns: [
        { title: "time", numeric: false },
        { title: "mean", numeric: true },
        ...QUANTILES.map((title) => ({ title, numeric: true })),
      ],
      rows: series.map(({ name, values }) => [
        name,
        formatMs(values?.mean ?? null),
        ...QUANTILES.map((key) => formatMs(values?.[key] ?? null)),
      ]),
      rows_left_out: 0,
    },
  };
}

function chartStages({ stages }: SimulationDocument): Chart {
  const names = stages.map(
    ({ pipeline, stage, node }) => `${pipeline > 0 ? `plan ${pipeline}, ` : ""}${stage}: ${node}`,
  );
  return {
    ...makeShareChart(
      "stages",
      "Stages",
      names,
      stages.map(({ busy_ratio }) => busy_ratio),
    ),
    table: {
      caption: "Stages",
      columns: [
        { title: "stage", numeric: false },
        { title: "units", numeric: false },
        { title: "busy", numeric: true },
        { title: "idle", numeric: true },
        { title: "micro-batches", numeric: true },
        { title: "rows", numeric: true },
        { title: "KV at most, MB", numeric: true },
      ],
      rows: stages.map((stage, index) => [
        names[index] ?? "",
        `${stage.first}:${stage.end}`,
        percent(stage.busy_ratio),
        percent(stage.bubble_ratio),
        String(stage.micro_batches),
        String(stage.rows),
        (stage.kv_bytes_peak / 1e6).toFixed(1),
      ]),
      rows_left_out: 0,
    },
  };
}

function chartLinks({ links }: SimulationDocument): Chart {
  const names = links.map(({ from, to }) => `${sayEnd(from)} > ${sayEnd(to)}`);
  return {
    ...makeShareChart(
      "links",
      "Links",
      names,
      links.map(({ use_ratio }) => use_ratio),
    ),
    table: {
      caption: "Links",
      columns: [
        { title: "link", numeric: false },
        { title: "in use", numeric: true },
        { title: "messages", numeric: true },
        { title: "MB", numeric: true },
        { title: "sent again", numeric: true },
      ],
      rows: links.map((link, index) => [
        names[index] ?? "",
        percent(link.use_ratio),
        String(link.messages),
        (link.bytes / 1e6).toFixed(2),
        String(link.lost),
      ]),
      rows_left_out: 0,
    },
  };
}

function makeShareChart(
  id: string,
  title: string,
  names: readonly string[],
  ratios: readonly number[],
): Omit<Chart, "table"> {
  const most = ratios.indexOf(Math.max(...ratios));
  const axis = makeAxis("", "category");
  return {
    id,
    title,
    sentence:
      names.length === 0
        ? "There are none."
        : `In use most: ${names[most] ?? ""}, ${percent(ratios[most] ?? 0)} of the time.`,
    note: null,
    legend: [],
    panels: [
      makePanel(`${id}-plot`, {
        x: { ...makeAxis("% of the time in use", "linear"), from_zero: true, range: [0, 100] },
        y: { ...axis, categories: names, reversed: true },
        height: Math.max(160, 28 * names.length + 80),
        traces: [
          {
            type: "bar",
            name: title,
            color: "c1",
            pattern: "",
            horizontal: true,
            x: ratios.map((ratio) => 100 * ratio),
            y: [...names],
            base: null,
            text: ratios.map(percent),
            hover: ratios.map((ratio, index) => `${names[index] ?? ""}: ${percent(ratio)}`),
          },
        ],
      }),
    ],
  };
}

function makePanel(
  id: string,
  {
    x,
    y,
    traces,
    height = 320,
  }: { readonly x: Axis; readonly y: Axis; readonly traces: Panel["traces"]; readonly height?: number },
): Panel {
  return { id, title: null, x, y, bars: "group", height_px: height, wide: true, legend: [], traces, moments: [] };
}

function makeAxis(title: string, kind: Axis["kind"]): Axis {
  return { title, kind, ticks: null, categories: null, reversed: false, from_zero: false, range: null };
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(1)}%`;
}
