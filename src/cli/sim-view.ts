import type { Distribution, SimulationDocument } from "../sim/index.ts";
import { formatMs } from "./quantities.ts";
import { renderTable } from "./table.ts";

/** Words first, then the tables. */
export function renderSimulation(document: SimulationDocument, workload: string): string {
  return `${describeSimulation(document, workload).join("\n")}\n\n${renderTimes(document)}\n${renderStages(document)}\n${renderLinks(document)}`;
}

/** What a simulation says, most important first. */
export function describeSimulation(document: SimulationDocument, workload: string): readonly string[] {
  const { throughput, requests, simulated_ms: simulatedMs, queue, queue_ms: waited } = document;
  const busiest = findBusiest(document);
  const waits =
    queue.peak > 0 && waited !== null && waited.p95 > 0
      ? [`Up to ${queue.peak} requests waited for a slot, ${formatMs(waited.p95)} ms at p95.`]
      : [];
  return [
    `${workload}: ${throughput.tokens_per_s.toFixed(1)} tokens/s over ${(simulatedMs / 1000).toFixed(1)} s.`,
    ...(busiest === null
      ? []
      : [
          `The busiest part is ${busiest.words}, in use ${percent(busiest.ratio)} of the time${busiest.ratio < 0.7 ? ": nothing is full, requests wait for the way round" : ""}.`,
        ]),
    ...waits,
    ...(requests.refused > 0
      ? [`${requests.refused} requests were refused: they do not fit the context or the KV, even alone.`]
      : []),
    ...(requests.read_again > 0 ? [`${requests.read_again} sessions lost their KV and were read again.`] : []),
    ...(requests.reused_tokens > 0
      ? [`${percent(requests.reused_tokens / requests.prompt_tokens)} of the prompts' tokens were in the KV already.`]
      : []),
  ];
}

/** The stage or link that is in use most. */
export function findBusiest(document: SimulationDocument): { readonly words: string; readonly ratio: number } | null {
  const parts = [
    ...document.stages.map(({ stage, node, busy_ratio }) => ({
      words: `stage ${stage} on ${node}`,
      ratio: busy_ratio,
    })),
    ...document.links.map(({ from, to, use_ratio }) => ({
      words: `the link from ${sayEnd(from)} to ${sayEnd(to)}`,
      ratio: use_ratio,
    })),
  ];
  return parts.reduce<(typeof parts)[number] | null>((a, b) => (a === null || b.ratio > a.ratio ? b : a), null);
}

/** The coordinator's own id is for documents. */
export function sayEnd(id: string): string {
  return id.startsWith("@") ? `the ${id.slice(1)}` : id;
}

function renderTimes(document: SimulationDocument): string {
  const rows: readonly (readonly [string, Distribution | null])[] = [
    ["first token", document.ttft_ms],
    ["token to token", document.itl_ms],
    ["whole request", document.e2e_ms],
    ["wait for a slot", document.queue_ms],
  ];
  return renderTable(
    [
      { title: "ms" },
      ...["mean", "p50", "p90", "p95", "p99", "max"].map((title) => ({ title, align: "right" as const })),
    ],
    rows.map(([name, values]) => [
      name,
      ...(["mean", "p50", "p90", "p95", "p99", "max"] as const).map((key) => formatMs(values?.[key] ?? null)),
    ]),
  );
}

function renderStages(document: SimulationDocument): string {
  const plans = new Set(document.stages.map(({ pipeline }) => pipeline)).size > 1;
  return renderTable(
    [
      { title: "stage", align: "right" },
      { title: "node" },
      { title: "units" },
      { title: "busy", align: "right" },
      { title: "idle", align: "right" },
      { title: "micro-batches", align: "right" },
      { title: "rows each", align: "right" },
      { title: "ms each", align: "right" },
    ],
    document.stages.map((stage) => [
      plans ? `${stage.pipeline}.${stage.stage}` : String(stage.stage),
      stage.node,
      `${stage.first}:${stage.end}`,
      percent(stage.busy_ratio),
      percent(stage.bubble_ratio),
      String(stage.micro_batches),
      stage.micro_batches === 0 ? "-" : (stage.rows / stage.micro_batches).toFixed(1),
      formatMs(stage.micro_batches === 0 ? null : stage.busy_ms / stage.micro_batches),
    ]),
  );
}

function renderLinks(document: SimulationDocument): string {
  return renderTable(
    [
      { title: "link" },
      { title: "in use", align: "right" },
      { title: "messages", align: "right" },
      { title: "MB", align: "right" },
      { title: "sent again", align: "right" },
    ],
    document.links.map(({ from, to, use_ratio, messages, bytes, lost }) => [
      `${sayEnd(from)} > ${sayEnd(to)}`,
      percent(use_ratio),
      String(messages),
      (bytes / 1e6).toFixed(2),
      String(lost),
    ]),
  );
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(ratio < 0.0995 ? 1 : 0)}%`;
}
