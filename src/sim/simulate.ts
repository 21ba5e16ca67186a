import { sum } from "../common/index.ts";
import { describeValues } from "./distribution.ts";
import type { SimulationDocument } from "./document.ts";
import type { PipelineState } from "./pipeline-state.ts";
import { runSimulation, type SimulationOptions, type SimulationOutcome } from "./simulation.ts";
import type { SimCluster, Workload } from "./types.ts";

/**
 * Simulates a workload on a cluster, event by event, until every request has ended. Pure: the same input and seed give
 * the same document on every machine.
 *
 * @throws SIMULATION_INVALID, PLAN_INVALID for a cluster or workload without sense
 */
export function simulate(cluster: SimCluster, workload: Workload, options: SimulationOptions = {}): SimulationDocument {
  const outcome = runSimulation(cluster, workload, options);
  const { record } = outcome;
  const { startMs, endMs } = findSpan(outcome);
  const spanMs = endMs - startMs;
  const perSecond = (value: number): number => (spanMs > 0 ? (1000 * value) / spanMs : 0);
  const finished = workload.requests.filter((_, index) => (record.generated[index] ?? 0) > 0);
  const promptTokens = sum(finished.map((request) => request.promptTokens));
  const generatedTokens = sum([...record.generated]);
  const since = (times: Float64Array): Float64Array => times.map((atMs, i) => atMs - (record.arrivedMs[i] ?? 0));
  return {
    schema: "noodle.simulation.v1",
    seed: options.seed ?? 1,
    event_hash: outcome.eventHash,
    events: outcome.events,
    simulated_ms: spanMs,
    requests: {
      finished: record.finished,
      refused: record.refused,
      read_again: record.readAgain,
      prompt_tokens: promptTokens,
      reused_tokens: sum(outcome.cluster.pipelines.map(({ tokensReused }) => tokensReused)),
      generated_tokens: generatedTokens,
    },
    throughput: {
      tokens_per_s: perSecond(generatedTokens),
      prompt_tokens_per_s: perSecond(promptTokens),
      requests_per_s: perSecond(record.finished),
    },
    ttft_ms: describeValues(since(record.firstTokenMs)),
    ttft_computed_ms: describeValues(since(record.firstComputedMs)),
    itl_ms: describeValues(record.gapsMs.all),
    e2e_ms: describeValues(since(record.endedMs).map((ms, i) => ((record.generated[i] ?? 0) > 0 ? ms : Number.NaN))),
    queue_ms: describeValues(since(record.admittedMs)),
    queue: { peak: outcome.line.peak, mean: spanMs > 0 ? outcome.line.requestMs / spanMs : 0 },
    stages: outcome.cluster.pipelines.flatMap((pipeline) => describeStages(pipeline, spanMs)),
    links: [...outcome.cluster.links.values()]
      .filter(({ messages }) => messages > 0)
      .map(({ from, to, messages, bytes, lost, busyMs }) => ({
        from,
        to,
        messages,
        bytes,
        lost,
        use_ratio: ratioOf(busyMs, spanMs),
      })),
    kv: outcome.cluster.pipelines.map(({ index, kvTokensPeak, kvTokensLimit }) => ({
      pipeline: index,
      tokens_peak: kvTokensPeak,
      tokens_limit: kvTokensLimit,
    })),
  };
}

function describeStages(pipeline: PipelineState, spanMs: number): SimulationDocument["stages"] {
  return pipeline.stages.map(({ index, spec, busyMs, batches, rows }) => ({
    pipeline: pipeline.index,
    stage: index,
    node: spec.node,
    first: spec.first,
    end: spec.end,
    micro_batches: batches,
    rows,
    busy_ms: busyMs,
    busy_ratio: ratioOf(busyMs, spanMs),
    bubble_ratio: 1 - ratioOf(busyMs, spanMs),
    kv_bytes_peak: pipeline.kvTokensPeak * spec.kvBytesPerToken,
  }));
}

/** What may still be under way when the last request has ended, such as word of room on a hop, counts no more. */
function findSpan({ record }: SimulationOutcome): { readonly startMs: number; readonly endMs: number } {
  let startMs = Number.POSITIVE_INFINITY;
  let endMs = 0;
  for (const atMs of record.arrivedMs) startMs = Math.min(startMs, atMs);
  for (const atMs of record.endedMs) endMs = Math.max(endMs, atMs);
  return { startMs: Number.isFinite(startMs) ? startMs : 0, endMs };
}

function ratioOf(part: number, whole: number): number {
  return whole > 0 ? part / whole : 0;
}
