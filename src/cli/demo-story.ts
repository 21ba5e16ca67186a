import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { combineObservers } from "../cluster/coordinator/index.ts";
import { must } from "../common/index.ts";
import type { EngineIdentity, SamplingParams } from "../engine/index.ts";
import { formatSplit } from "../model/index.ts";
import { countMissingLayers, type RequestTrace, type TraceCollector } from "../trace/index.ts";
import type { CommandContext } from "./command.ts";
import { compareForecast, type DemoForecast, forecastDemo, type ForecastInput } from "./demo-forecast.ts";
import { measureHops } from "./demo-plan.ts";
import type { DemoPlan } from "./demo-prepare.ts";
import { BUNDLED_MODEL } from "./directories.ts";
import { collectTimed, type KilledStory, tellThroughDeath, type TimedGeneration } from "./demo-kill.ts";
import { collectGeneration, type Generation } from "./generation.ts";
import { PREFILL_ROWS, withLocalCluster } from "./local-cluster.ts";
import { Watch } from "./observing.ts";
import type { PredictedFigure } from "./predicted-figures.ts";
import { formatMs } from "./quantities.ts";
import { describeDeath } from "./demo-words.ts";
import type { RunFolder } from "./run-folder.ts";
import { runStreamsAtOnce, type StreamsAtOnce } from "./streams-at-once.ts";
import { ToldEvents } from "./told-events.ts";

/** How long each of the stories that are told at once is. */
const STREAM_TOKENS = 48;
/** Enough to see what the hops take. */
const WARM_UP_TOKENS = 24;
/** The story is short: one step in twenty still shows a dozen of them from inside. */
const SAMPLE_EVERY = 20;
const TRACE_LIMIT_MS = 1000;
const TRACE_POLL_MS = 10;

/** What the demo tells, and what was foretold of it. */
export interface DemoStory {
  readonly story: TimedGeneration;
  readonly trace: RequestTrace;
  readonly streams: StreamsAtOnce;
  readonly forecast: DemoForecast;
  readonly figures: readonly PredictedFigure[];
  /** The same story, a worker of which was killed. */
  readonly killed: KilledStory;
}

export interface StoryWishes {
  readonly prompt: string;
  readonly tokens: number;
  readonly seed: number;
  readonly streams: number;
  readonly sampling: SamplingParams;
  readonly data?: string;
}

/** Generates through worker processes, watched: logs in the run's folder, and the trace of the one request. */
export async function tellStory(
  context: CommandContext,
  plan: DemoPlan,
  engine: EngineIdentity,
  folder: RunFolder,
  options: StoryWishes,
): Promise<DemoStory> {
  const { out, signal } = context;
  const { model, hashes, split, threads } = plan;
  const { sampling } = options;
  const observing = { logs: join(folder.path, "logs"), sampleEvery: SAMPLE_EVERY };
  const { headerSha256 } = hashes;
  await using watch = await Watch.open({ context, options: observing, model, headerSha256, engine, threads });
  const told = new ToldEvents();
  const { observer } = watch.coordinatorOptions;
  const observers = observer === undefined ? [told] : [observer, told];
  const decodeInFlight = plan.plan.policy?.decode_in_flight;
  const run = await withLocalCluster(
    {
      context,
      model: BUNDLED_MODEL,
      options: { ...(options.data === undefined ? {} : { data: options.data }), split: formatSplit(split) },
      threads,
      workers: split.length,
      watching: { ...watch.coordinatorOptions, observer: combineObservers(...observers) },
      serving: { prefillRows: PREFILL_ROWS, ...(decodeInFlight === undefined ? {} : { decodeInFlight }) },
    },
    async (cluster) => {
      const { coordinator } = cluster;
      const request = {
        prompt: options.prompt,
        maxTokens: options.tokens,
        sampling,
        wantLogits: true,
        wantKvHashes: true,
        cachePrompt: false,
      };
      out.progress.phase(`asking for ${WARM_UP_TOKENS} tokens, to see what the hops take`);
      const warmUp = await collectGeneration(
        coordinator.generate({ ...request, maxTokens: WARM_UP_TOKENS }, signal),
        () => undefined,
      );
      const input = prepareForecast(plan, warmUp, options);
      const forecast = forecastDemo(input);
      await folder.writeJson("simulation.json", forecast.story);
      await folder.writeJson("simulation.streams.json", forecast.streams);
      for (const words of describeForecast(plan, forecast, options.streams)) out.note(`  ${words}`);
      out.progress.phase(`telling a story through ${split.length} workers`);
      out.data(`\n${options.prompt}`);
      const story = await collectTimed(coordinator.generate(request, signal), (text) => out.data(text));
      out.line("\n");
      const trace = await readLastTrace(watch.traces, signal);
      out.progress.phase(`telling ${options.streams} stories, one behind another and then all at once`);
      const others = Array.from({ length: options.streams }, (_, index) => ({
        prompt: options.prompt,
        maxTokens: STREAM_TOKENS,
        ignoreEos: true,
        sampling: { ...sampling, seed: (options.seed + 1 + index) % 0x1_0000_0000 },
      }));
      const streams = await runStreamsAtOnce(coordinator, others, signal);
      out.progress.phase("telling the story again, and killing a worker in the middle of a sentence");
      out.data(`\n${options.prompt}`);
      const killed = await tellThroughDeath(context, cluster, told, request, story.generation);
      for (const words of describeDeath(killed)) out.line(words);
      out.line();
      return { story, streams, killed, trace, input, forecast };
    },
  );
  const { story, streams, forecast, trace } = run;
  const figures = compareForecast(run.input, forecast, { generation: story.generation, trace, streams });
  return { story, streams, killed: run.killed, trace, forecast, figures };
}

/** Of the request that ended last. What was seen inside its steps comes a little later than its tokens. */
async function readLastTrace(traces: TraceCollector, signal: AbortSignal): Promise<RequestTrace> {
  const id = must(traces.requestIds.at(-1), "request");
  const endMs = performance.now() + TRACE_LIMIT_MS;
  for (;;) {
    const trace = must(traces.readTrace(id), "trace");
    if ((trace.end_mono_ns !== null && countMissingLayers(trace) === 0) || performance.now() > endMs) return trace;
    await sleep(TRACE_POLL_MS, undefined, { signal });
  }
}

function prepareForecast(plan: DemoPlan, warmUp: Generation, options: StoryWishes): ForecastInput {
  return {
    plan: plan.plan,
    costs: plan.profile.cost_model,
    alone: plan.alone,
    hops: measureHops(warmUp),
    cores: plan.cores,
    threads: plan.threads,
    workload: {
      promptTokens: warmUp.promptTokenIds.length,
      tokens: options.tokens,
      streams: options.streams,
      streamTokens: STREAM_TOKENS,
    },
  };
}

/** What is expected, and whether the split is worth it. */
function describeForecast(
  { plan, cores, threads }: DemoPlan,
  { story, streams, alone, sharingFactor }: DemoForecast,
  count: number,
): string[] {
  const workers = plan.stages.length;
  const [several, one] = [streams.throughput.tokens_per_s, alone.simulation.throughput.tokens_per_s];
  const shared =
    sharingFactor > 1.01
      ? `; the workers share ${cores} cores, so that their steps then take ${sharingFactor.toFixed(2)} times as long`
      : "";
  const honest =
    one >= several
      ? `One process with ${alone.threads} thread${alone.threads === 1 ? "" : "s"} is at least as fast: ${one.toFixed(0)} tokens/s for ${count} streams. ${workers} workers on one machine show how it works; on machines of their own each brings its own cores.`
      : `One process with ${alone.threads} thread${alone.threads === 1 ? "" : "s"} is predicted to give ${one.toFixed(0)} tokens/s for ${count} streams: ${workers} workers of ${threads} use the cores better.`;
  return [
    `predicted: the first token after ${formatMs(story.ttft_ms?.mean ?? null)} ms, then one every ${formatMs(story.itl_ms?.mean ?? null)} ms; ${count} streams at once ${several.toFixed(0)} tokens/s${shared}`,
    honest,
  ];
}
