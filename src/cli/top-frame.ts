import { basename } from "node:path";
import { formatBytes, formatMs } from "./quantities.ts";
import type { TopDocument, TopStage } from "./top-document.ts";

export interface FrameOptions {
  /** Of the terminal; narrower than 40 is drawn as 40. */
  readonly columns: number;
  /** Bold and colour; never needed to understand the frame. */
  readonly color: boolean;
}

const MIN_COLUMNS = 40;
const MIN_CARD = 23;
const MAX_CARD = 32;
const ARROW = " -> ";

/** One moment of the cluster as lines no wider than the terminal. Pure. */
export function renderTop(top: TopDocument, { columns, color }: FrameOptions): readonly string[] {
  const width = Math.max(MIN_COLUMNS, columns);
  const paint = color ? (text: string, code: string): string => `\u001b[${code}m${text}\u001b[0m` : plain;
  return [
    ...renderHead(top, width).map((line, at) => (at === 0 ? paint(line, "1") : line)),
    ...renderWords(top, width).map((line) => (top.bottleneck === null ? line : paint(line, "1;33"))),
    "",
    ...renderStrip(top, width, paint),
  ];
}

/** Above the strip: a low terminal cuts below. */
function renderWords(top: TopDocument, width: number): readonly string[] {
  if (top.bottleneck !== null) return wrap([`bottleneck: ${clean(top.bottleneck.words)}`], width);
  return wrap([top.live === null ? "the coordinator keeps no live figures" : "no steps yet"], width);
}

function plain(text: string): string {
  return text;
}

function renderHead(top: TopDocument, width: number): readonly string[] {
  const { coordinator, health, live } = top;
  const reason = health.reason === null ? health.status : `${health.status} (${health.reason})`;
  const title = [
    clean(basename(coordinator.model)),
    clean(reason),
    `plan ${coordinator.epoch ?? "-"}`,
    `up ${formatDuration(coordinator.uptime_ms)}`,
  ];
  if (live === null) return wrap(title, width);
  const { requests, tokens_per_s, ttft_ms, itl_ms, step_ms } = live;
  const ended = `${requests.finished} done${requests.failed === 0 ? "" : `, ${requests.failed} failed`}`;
  const figures = [
    `tokens/s ${formatRate(tokens_per_s.generated)} out, ${formatRate(tokens_per_s.prompt)} in`,
    `requests ${requests.running} running, ${requests.waiting} waiting, ${ended}`,
  ];
  const times = [
    `TTFT ${renderQuantiles(ttft_ms)}`,
    `ITL ${renderQuantiles(itl_ms)}`,
    `${top.phase} step ${renderQuantiles(step_ms[top.phase])}`,
  ];
  return [...wrap(title, width), ...wrap(figures, width), ...wrap(times, width), ...renderPromise(top, width)];
}

/** What the plan promises beside what is measured. */
function renderPromise({ plan }: TopDocument, width: number): readonly string[] {
  if (plan === null) return [];
  const { predicted, measured } = plan;
  const pair = (name: "period_ms" | "latency_ms" | "tokens_per_s"): string =>
    [predicted[name], measured?.[name] ?? null].map((value) => formatMs(value)).join(" / ");
  const parts = [
    `predicted / measured: period ${pair("period_ms")} ms`,
    `round ${pair("latency_ms")} ms`,
    `tokens/s ${pair("tokens_per_s")}`,
  ];
  return wrap(parts, width);
}

function renderQuantiles(value: { readonly p50: number; readonly p95: number } | null): string {
  return value === null ? "-" : `p50 ${formatMs(value.p50)} p95 ${formatMs(value.p95)} ms`;
}

interface Card {
  readonly lines: readonly string[];
  readonly marked: boolean;
}

/** Cards from left to right, in as many rows as they need. */
function renderStrip(top: TopDocument, width: number, paint: (text: string, code: string) => string): string[] {
  const count = top.stages.length + 1;
  const fitting = Math.floor((width + ARROW.length) / (MIN_CARD + ARROW.length));
  // A row that goes on below ends with an arrow too.
  const perRow = count <= fitting ? count : Math.max(1, Math.floor((width + 1) / (MIN_CARD + ARROW.length)));
  const inRow = Math.min(perRow, count);
  const room = width - ARROW.length * (inRow - 1) - (count > perRow ? ARROW.trimEnd().length : 0);
  const cardWidth = Math.min(MAX_CARD, Math.floor(room / inRow));
  const cards: Card[] = [
    { lines: describeCoordinator(top), marked: top.bottleneck?.kind === "coordinator" },
    ...top.stages.map((stage) => ({
      lines: describeStageCard(stage, top, cardWidth - 4),
      marked: top.bottleneck !== null && top.bottleneck.stage === stage.stage,
    })),
  ];
  const rows: string[] = [];
  for (let first = 0; first < cards.length; first += perRow) {
    const row = cards.slice(first, first + perRow);
    const height = Math.max(...row.map((card) => card.lines.length));
    const boxes = row.map((card) => renderBox(card, cardWidth, height));
    for (let line = 0; line < height + 1; line++) {
      // The arrow stands beside the names.
      const joint = line === 1 ? ARROW : " ".repeat(ARROW.length);
      const cells = boxes.map((box, at) =>
        row[at]?.marked === true ? paint(box[line] ?? "", "33") : (box[line] ?? ""),
      );
      const isLastRow = first + perRow >= cards.length;
      rows.push(`${cells.join(joint)}${line === 1 && !isLastRow ? ARROW.trimEnd() : ""}`.trimEnd());
    }
  }
  return rows;
}

/** A title in the upper edge, lines, a lower edge; `height` lines and the lower edge. */
function renderBox(card: Card, width: number, height: number): readonly string[] {
  const inside = width - 4;
  const [title = "", ...body] = card.lines;
  const head = fit(title, inside - 1);
  const lines = Array.from({ length: height - 1 }, (_, at) => `│ ${fit(body[at] ?? "", inside).padEnd(inside)} │`);
  return [`┌ ${head} ${"─".repeat(width - 4 - head.length)}┐`, ...lines, `└${"─".repeat(width - 2)}┘`];
}

function describeCoordinator({ coordinator, live }: TopDocument): readonly string[] {
  return [
    "coordinator",
    clean(coordinator.address),
    `${coordinator.units} units`,
    `context ${coordinator.context_tokens}`,
    `${live?.requests.running ?? "-"} of ${coordinator.parallel} sessions`,
    `RSS ${formatBytes(coordinator.rss_bytes)}`,
    ...(coordinator.cpu_ratio === null ? [] : [`CPU ${percent(coordinator.cpu_ratio)}`]),
  ];
}

function describeStageCard(stage: TopStage, top: TopDocument, inside: number): readonly string[] {
  const { times } = stage;
  const isBottleneck = top.bottleneck?.stage === stage.stage;
  const compute = times?.compute_ms ?? null;
  const state = stage.state === "ready" ? "" : `, ${clean(stage.state)}`;
  return [
    `stage ${stage.stage}${isBottleneck ? " bottleneck" : ""}`,
    `${clean(stage.node_name ?? "no node")}${state}`,
    `units ${clean(stage.units)} / ${top.coordinator.units}`,
    compute === null ? "compute -" : `compute ${formatMs(compute.p50)} ms`,
    renderShare(times?.share ?? null, inside),
    `queue ${formatShort(times?.queue_ms)} hop ${formatShort(times?.hop_ms)}`,
    `busy ${stage.busy_ratio === null ? "-" : percent(stage.busy_ratio)} ${renderKv(stage, inside)}`,
    `RSS ${stage.rss_bytes === null ? "-" : formatBytes(stage.rss_bytes)}`,
  ];
}

function formatShort(value: { readonly p50: number } | null | undefined): string {
  if (value === null || value === undefined) return "-";
  return value.p50 < 10 ? value.p50.toFixed(2) : value.p50.toFixed(0);
}

function renderKv({ kv_used_bytes, kv_bytes }: TopStage, inside: number): string {
  if (kv_bytes <= 0) return "KV -";
  const used = percent(kv_used_bytes / kv_bytes);
  return inside < 28 ? `KV ${used}` : `KV ${used} of ${formatBytes(kv_bytes)}`;
}

/** A bar with its percentage; the part of a step that this stage and the way into it take. */
function renderShare(share: number | null, inside: number): string {
  const bounded = Math.min(1, Math.max(0, share ?? 0));
  const length = Math.max(1, inside - 5);
  const full = Math.round(bounded * length);
  return `${"█".repeat(full)}${"░".repeat(length - full)} ${(share === null ? "-" : percent(bounded)).padStart(4)}`;
}

function percent(ratio: number): string {
  return `${Math.round(ratio * 100)}%`;
}

function formatRate(perSecond: number): string {
  return perSecond < 100 ? perSecond.toFixed(1) : String(Math.round(perSecond));
}

/** `4m 05s`, `3h 02m`, `2d 4h`. */
function formatDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h ${two(Math.floor((seconds % 3600) / 60))}m`;
  return `${Math.floor(seconds / 86_400)}d ${Math.floor((seconds % 86_400) / 3600)}h`;
}

/** Puts parts behind one another, in as many lines as they need. */
function wrap(parts: readonly string[], width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const part of parts) {
    const joined = line === "" ? part : `${line}   ${part}`;
    if (joined.length <= width) {
      line = joined;
      continue;
    }
    if (line !== "") lines.push(line);
    line = fit(part, width);
  }
  return [...lines, line];
}

function fit(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** What a peer calls itself must not move the cursor. */
function clean(text: string): string {
  return text.replaceAll(/\p{C}/gu, "?");
}
