import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { median } from "../src/common/index.ts";

/** What a serving bench measured at one server, median over the repetitions. */
interface ServeFigure {
  readonly metric: string;
  readonly subject: string;
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export interface ServeFigures {
  readonly date: string;
  readonly commit: string;
  readonly cpu: string;
  readonly cores: number;
  readonly repetitions: number;
  readonly figures: readonly ServeFigure[];
}

interface SampleRow {
  readonly kind: string;
  readonly bench: string;
  readonly subject: string;
  readonly metric: string;
  readonly value: number;
  readonly repetition: number;
  readonly time: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly commit: string };
}

export const FIGURES_FILE = fileURLToPath(new URL("../bench/serve/figures.json", import.meta.url));
export const README_FILE = fileURLToPath(new URL("../README.md", import.meta.url));
const MARKS = ["<!-- serve-table -->", "<!-- /serve-table -->"] as const;

/** Rows of the table: what it is called there, and the metric of the bench. */
const LINES = [
  ["8 streams, 128 + 64 tokens: tokens/s together", "8 streams tokens_per_sec"],
  ["8 streams: time to first token, median, ms", "8 streams ttft_p50_ms"],
  ["1 stream: decode tokens/s", "1 stream decode tokens_per_sec"],
  ["1 stream, 128 + 64 tokens: tokens/s end to end", "1 stream end to end tokens_per_sec"],
  ["prompt of 512: tokens/s", "prefill of 512 tokens_per_sec"],
] as const;
const OURS = "noodle 2x1";
const PEERS = ["llama-server rpc 2x1", "llama-server 2 threads", "llama-server 1 thread"] as const;

/** Medians of the samples of one bench run. */
export function summarizeServeRows(jsonl: string): ServeFigures {
  const rows = jsonl
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as SampleRow)
    .filter(({ kind, bench }) => kind === "sample" && bench === "serve");
  const [first] = rows;
  if (first === undefined) throw new Error("there are no rows of the bench `serve`");
  const groups = new Map<string, SampleRow[]>();
  for (const row of rows) {
    const key = JSON.stringify([row.metric, row.subject]);
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return {
    date: first.time.slice(0, 10),
    commit: first.machine.commit,
    cpu: first.machine.cpu,
    cores: first.machine.cores,
    repetitions: 1 + Math.max(...rows.map(({ repetition }) => repetition)),
    figures: [...groups.values()].map((group) => {
      const values = group.map(({ value }) => value);
      const { metric, subject } = group[0] as SampleRow;
      return { metric, subject, median: median(values), low: Math.min(...values), high: Math.max(...values) };
    }),
  };
}

/** The comparison as Markdown; a server that was not measured has a dash. */
export function renderServeTable(figures: ServeFigures): string {
  const find = (metric: string, subject: string): ServeFigure | undefined =>
    figures.figures.find((each) => each.metric === metric && each.subject === subject);
  const cell = (metric: string, subject: string): string => {
    const figure = find(metric, subject);
    if (figure === undefined) return "-";
    const ours = find(metric, OURS);
    const ratio =
      subject === OURS || ours === undefined ? "" : `, ours is ${(ours.median / figure.median).toFixed(2)} x`;
    return `${format(figure.median)} (${format(figure.low)} .. ${format(figure.high)})${ratio}`;
  };
  const sections = ["", ", real 135M"].map((suffix) =>
    LINES.map(
      ([words, metric]) =>
        `| ${words}${suffix} | ${[OURS, ...PEERS].map((subject) => cell(`${metric}${suffix}`, subject)).join(" | ")} |`,
    ).filter((line) => /\d \(/.test(line)),
  );
  return [
    `Measured ${figures.date} at ${figures.commit}, ${figures.cores} cores of ${figures.cpu}, ${describeRuns(figures.repetitions)}; 1B llama shape, Q4_0, unless said.`,
    "",
    "| | NoodleCore, 2 workers x 1 thread | `llama-server` over 2 RPC servers x 1 thread | `llama-server`, 2 threads | `llama-server`, 1 thread |",
    "|---|---|---|---|---|",
    ...sections.flat(),
  ].join("\n");
}

/** The README with the table between its marks. */
export function insertServeTable(readme: string, table: string): string {
  const [start, end] = MARKS.map((mark) => readme.indexOf(mark)) as [number, number];
  if (start < 0 || end < start) throw new Error(`README.md has no ${MARKS[0]} ... ${MARKS[1]}`);
  return `${readme.slice(0, start + MARKS[0].length)}\n${table}\n${readme.slice(end)}`;
}

function describeRuns(repetitions: number): string {
  return repetitions === 1
    ? "one run of each, so differences of a tenth mean nothing"
    : `medians of ${repetitions} repetitions in turns, least and greatest behind them`;
}

function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

/** Takes the rows of a new run in where there are some, and writes the README's table. */
export function updateServeTable(rowsFile: string | undefined): void {
  if (rowsFile !== undefined) {
    writeFileSync(FIGURES_FILE, `${JSON.stringify(summarizeServeRows(readFileSync(rowsFile, "utf8")), null, 2)}\n`);
  }
  const table = renderServeTable(JSON.parse(readFileSync(FIGURES_FILE, "utf8")) as ServeFigures);
  writeFileSync(README_FILE, insertServeTable(readFileSync(README_FILE, "utf8"), table));
}
