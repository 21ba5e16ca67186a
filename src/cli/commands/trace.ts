import type { Command } from "commander";
import type { GenerateRequest } from "../../cluster/coordinator/index.ts";
import { must, NoodleError } from "../../common/index.ts";
import type { Tokenizer } from "../../engine/index.ts";
import { openGguf } from "../../gguf/index.ts";
import { describeModel } from "../../model/index.ts";
import { writeWhole } from "../write-whole.ts";
import { type HookLevel, readHookLevel } from "../../observe/index.ts";
import {
  countMissingLayers,
  type PhaseSummary,
  readRequestTrace,
  type RequestTrace,
  summarizeTrace,
  TraceCollector,
  writeChromeTrace,
} from "../../trace/index.ts";
import { formatHostPort, parseHostPort } from "../addresses.ts";
import { addClusterOptions, type ClusterOptions, parseWorkers } from "../cluster-options.ts";
import { readOperatorSecurity } from "../cluster-security.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { prepareEngine } from "../engine.ts";
import type { GenerationEvent } from "../generation.ts";
import type { CliHost } from "../host.ts";
import { chooseContextTokens, chooseLocalThreads, withLocalCluster } from "../local-cluster.ts";
import { parseInteger } from "../quantities.ts";
import { tokenizePrompt } from "../reference.ts";
import { RemoteCluster } from "../remote-cluster.ts";
import { addSamplingOptions, readSampling, type SamplingOptions } from "../sampling-options.ts";
import { renderClocks, renderPhase } from "../trace-view.ts";

interface TraceOptions extends ClusterOptions, SamplingOptions {
  readonly json?: boolean;
  readonly prompt: string;
  readonly tokens: number;
  readonly level: HookLevel;
  readonly output: string;
  readonly workers?: number;
  readonly coordinator?: string;
}

/** A cluster, wherever it runs. */
interface TracedCluster {
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerationEvent>;
  readTrace(sessionId: string): Promise<RequestTrace>;
}

const DEFAULT_TOKENS = 32;
/** The insides of the last steps may come later than their tokens. */
const LATE_MS = 2000;
const LATE_CHECK_MS = 50;
/** About 200 MB; at level `layer` more than any context gives. */
const MAX_SEGMENTS = 2_000_000;

export function addTrace(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "trace [model]",
    summary: "generate text, look into every step on every worker, and write what happened for Perfetto",
    examples: [
      'noodle trace model.gguf -p "Once upon a time" --workers 2',
      'noodle trace model.gguf -p "Once upon a time" --workers 2 --level role -o run/trace.json',
      'noodle trace --coordinator 127.0.0.1:7421 -p "Once upon a time" -n 16',
    ],
  })
    .requiredOption("-p, --prompt <text>", "text to go on from")
    .option("-n, --tokens <n>", "tokens to generate at most", (text) => parseInteger(text, "-n", 1), DEFAULT_TOKENS)
    .option("--workers <k>", "local worker processes (default: 1, or the stages of --split)", (text) =>
      parseWorkers(text, "--workers"),
    )
    .option("--coordinator <host:port>", "a running cluster's coordinator")
    .option(
      "--level <level>",
      "how closely to look: layer, role or node",
      (text) => readHookLevel(text, "--level"),
      "layer" as HookLevel,
    )
    .option("-o, --output <file>", "Chrome trace to write; FILE.request.json is written beside it", "trace.json");
  addSamplingOptions(addClusterOptions(command)).action((model: string | undefined, options: TraceOptions) =>
    trace(openContext(host, options), model, options),
  );
}

async function trace(context: CommandContext, model: string | undefined, options: TraceOptions): Promise<void> {
  const { coordinator } = options;
  if (coordinator !== undefined) {
    const alien = (["workers", "split", "threads", "context", "parallel", "unverified", "data"] as const).find(
      (name) => options[name] !== undefined,
    );
    if (alien !== undefined) {
      throw new NoodleError("USAGE", `--${alien} is the running cluster's own: leave it out with --coordinator`);
    }
    if (model !== undefined) throw new NoodleError("USAGE", "give the model's file or --coordinator, not both");
    return traceRemotely(context, coordinator, options);
  }
  if (model === undefined) throw new NoodleError("USAGE", "give the model's file, or --coordinator");
  await traceLocally(context, model, options);
}

async function traceRemotely(context: CommandContext, address: string, options: TraceOptions): Promise<void> {
  const cluster = new RemoteCluster(
    formatHostPort(parseHostPort(address, "--coordinator")),
    readOperatorSecurity(context.host.env),
  );
  try {
    await traceThrough(context, options, {
      generate: (request, signal) => cluster.generate(request, signal),
      readTrace: (sessionId) => cluster.readTrace(sessionId, context.signal),
    });
  } finally {
    cluster.close();
  }
}

async function traceLocally(context: CommandContext, model: string, options: TraceOptions): Promise<void> {
  const contextTokens = chooseContextTokens(options.context, await readContextLength(model));
  prepareEngine(context.host.env);
  const workers = options.workers ?? options.split?.split(",").length ?? 1;
  const threads = chooseLocalThreads(options.threads, workers);
  // Every step of this one request is wanted, however many they are.
  const maxSteps = options.tokens + contextTokens;
  const collector = new TraceCollector({ maxRequests: 1, maxSteps, maxSegments: MAX_SEGMENTS });
  const watching = { observer: collector, traces: collector, sampleEvery: 0 };
  const check = (tokenizer: Tokenizer): void => void tokenizePrompt(tokenizer, options.prompt, contextTokens);
  await withLocalCluster({ context, model, options, threads, workers, check, watching }, ({ coordinator }) =>
    traceThrough(context, options, {
      generate: (request, signal) => coordinator.generate(request, signal),
      readTrace: async (sessionId) => readRequestTrace(JSON.stringify(coordinator.readTrace(sessionId))),
    }),
  );
}

async function traceThrough(context: CommandContext, options: TraceOptions, cluster: TracedCluster): Promise<void> {
  const { out, signal } = context;
  const request = {
    prompt: options.prompt,
    maxTokens: options.tokens,
    sampling: await readSampling(options),
    observe: options.level,
  };
  out.progress.phase("a first run, in which the stages learn their graphs");
  for await (const _event of cluster.generate({ ...request, maxTokens: Math.min(2, options.tokens) }, signal));
  out.progress.phase("the run that is traced");
  let sessionId: string | null = null;
  for await (const event of cluster.generate(request, signal)) {
    if (event.type === "started") ({ sessionId } = event);
    if (event.type === "token") out.data(event.text);
  }
  out.line();
  const found = await readWhole(cluster, must(sessionId, "session id"));
  const requestFile = nameRequestFile(options.output);
  await writeWhole(options.output, `${JSON.stringify(writeChromeTrace([found]))}\n`);
  await writeWhole(requestFile, `${JSON.stringify(found)}\n`);
  report(context, options, found, requestFile);
}

/** The trace, once the insides of its last steps have come, or it has taken too long. */
async function readWhole(cluster: TracedCluster, sessionId: string): Promise<RequestTrace> {
  const deadlineMs = performance.now() + LATE_MS;
  for (;;) {
    const found = await cluster.readTrace(sessionId);
    if ((found.end_mono_ns !== null && countMissingLayers(found) === 0) || performance.now() > deadlineMs) return found;
    await new Promise((resolve) => setTimeout(resolve, LATE_CHECK_MS));
  }
}

function report({ out }: CommandContext, options: TraceOptions, found: RequestTrace, requestFile: string): void {
  const { prefill, decode } = summarizeTrace(found);
  const missing = countMissingLayers(found);
  out.document({
    schema: "noodle.trace_summary.v1",
    request_id: found.request_id,
    level: options.level,
    prompt_tokens: found.prompt_tokens,
    generated_tokens: found.generated_tokens,
    finish_reason: found.finish_reason,
    chrome_trace: options.output,
    request_trace: requestFile,
    missing_observations: missing,
    steps_forgotten: found.steps_forgotten,
    layers_forgotten: found.layers_forgotten,
    prefill: prefill === null ? null : writePhase(prefill),
    decode: decode === null ? null : writePhase(decode),
  });
  out.line();
  if (prefill !== null) out.line(renderPhase("prompt", prefill));
  if (decode !== null) out.line(renderPhase("generation", decode));
  const clocks = renderClocks(found);
  if (clocks !== "") out.line(clocks);
  if (missing > 0) out.line(`${missing} insides of steps did not come`);
  const forgotten = found.steps_forgotten + found.layers_forgotten;
  if (forgotten > 0) out.line(`${forgotten} steps or insides of steps were more than is kept`);
  out.line(`${options.output}: open it in https://ui.perfetto.dev or chrome://tracing`);
  out.line(`${requestFile}: the same as noodle.trace.v1`);
}

function writePhase(phase: PhaseSummary): object {
  return {
    steps: phase.steps,
    rows: phase.rows,
    step_ms_p50: phase.stepMs,
    elsewhere_ms: phase.elsewhereMs,
    stages: phase.stages.map((stage) => ({
      stage: stage.stage,
      node: stage.node,
      units: stage.units,
      hop_ms_p50: stage.hopMs,
      queue_ms_p50: stage.queueMs,
      compute_ms_p50: stage.computeMs,
      serialize_ms_p50: stage.serializeMs,
      share: stage.share,
      slowest: stage.slowest === null ? null : { ...stage.slowest },
    })),
  };
}

async function readContextLength(path: string): Promise<number> {
  const file = await openGguf(path);
  try {
    return describeModel(file.header, file.fileBytes).contextLength;
  } finally {
    await file.close();
  }
}

/** `run/trace.json` becomes `run/trace.request.json`. */
function nameRequestFile(output: string): string {
  return `${output.replace(/\.json$/i, "")}.request.json`;
}
