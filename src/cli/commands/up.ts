import type { Command } from "commander";
import { combineObservers } from "../../cluster/coordinator/index.ts";
import type { LocalCluster } from "../../cluster/local/index.ts";
import { must, type NoodleError } from "../../common/index.ts";
import type { EngineIdentity, Tokenizer } from "../../engine/index.ts";
import { DEFAULT_GRPC_PORT, DEFAULT_HTTP_PORT } from "../../protocol/index.ts";
import { LOOPBACK, parsePort } from "../addresses.ts";
import { ClusterNews, makeRestartEvent } from "../cluster-news.ts";
import { addClusterOptions, type ClusterOptions, parseWorkers } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { prepareEngine } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { chooseLocalThreads, requireLocalNames, withLocalCluster } from "../local-cluster.ts";
import { chooseGrpcPort, requireOneSplit, shareMemory } from "../model-shares.ts";
import { addObservingOptions, type ObservingOptions, placeLogs, Watch } from "../observing.ts";
import { parseSizeBytes } from "../quantities.ts";
import { PlanControl } from "../plan-control.ts";
import { addPlanningOptions, checkPlanning, type PlanningOptions } from "../planning-options.ts";
import { type NamedModel, Serving } from "../serving.ts";
import { addServingOptions, readServing, type ServingOptions } from "../serving-options.ts";
import { untilAborted } from "../waiting.ts";

interface UpOptions extends ClusterOptions, ObservingOptions, PlanningOptions, ServingOptions {
  readonly json?: boolean;
  readonly workers: number;
  readonly memory?: number;
  readonly port: number;
  readonly grpcPort: number;
}

/** One model's cluster, running. */
interface RunningModel {
  readonly model: NamedModel;
  readonly cluster: LocalCluster;
}

/** What all clusters of one invocation have in common. */
interface Frame {
  readonly context: CommandContext;
  readonly options: UpOptions;
  readonly serving: Serving;
  readonly engine: EngineIdentity;
  readonly threads: number;
  /** What each worker of a model may use; undefined where nothing is said. */
  readonly memoryBytes: (model: NamedModel) => number | undefined;
}

export function addUp(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "up <models...>",
    summary: "run a whole cluster on this machine until Ctrl-C, and serve the HTTP API and a chat page",
    examples: [
      "noodle up model.gguf --workers 2",
      "noodle up model.gguf --workers 3 --split 0:5,5:10,10:14 --port 8420 --grpc-port 8421",
      "noodle up model.gguf --workers 2 --plan plan.json",
      "noodle up model.gguf --workers 2 --determinism strict --api-key-file keys.txt",
      "noodle up small.gguf large.gguf --workers 2 --alias small --alias large",
    ],
  }).requiredOption("--workers <k>", "worker processes, of each model", (text) => parseWorkers(text, "--workers"));
  addServingOptions(addPlanningOptions(addObservingOptions(addClusterOptions(command))))
    .option("--memory <size>", "what all workers together may use (default: what is free at the start)", (text) =>
      parseSizeBytes(text, "--memory"),
    )
    .option(
      "--port <port>",
      "HTTP port of the API, the chat page, status, health and metrics",
      (text) => parsePort(text, "--port"),
      DEFAULT_HTTP_PORT,
    )
    .option(
      "--grpc-port <port>",
      "gRPC port of the coordinator; a second model's has the next one",
      (text) => parsePort(text, "--grpc-port"),
      DEFAULT_GRPC_PORT,
    )
    .action((models: readonly string[], options: UpOptions) =>
      runClusters(openContext(host, options), models, options),
    );
}

async function runClusters(context: CommandContext, models: readonly string[], options: UpOptions): Promise<void> {
  const { signal, host } = context;
  requireOneSplit(models, options.split);
  checkPlanning(options, models);
  const engine = prepareEngine(host.env);
  const threads = chooseLocalThreads(options.threads, options.workers * models.length);
  await using serving = await Serving.open({ context, options, models, host: LOOPBACK, port: options.port });
  const memoryBytes = shareMemory(serving.models, options.memory, options.workers);
  const frame: Frame = { context, options, serving, engine, threads, memoryBytes };
  await withModels(frame, [], async (running) => {
    announce(context, serving, running);
    try {
      const taken = running.map(({ cluster }) => cluster.coordinator.untilTaken(signal));
      await Promise.race([untilAborted(signal), ...taken]);
    } finally {
      // Before what they are computed by: a request that runs is told that it is over.
      await serving.close();
    }
  });
  signal.throwIfAborted();
}

/** Starts the models one after the other, and ends them in the opposite order. */
async function withModels(
  frame: Frame,
  running: readonly RunningModel[],
  use: (running: readonly RunningModel[]) => Promise<void>,
): Promise<void> {
  const { context, options, serving, engine, threads, memoryBytes } = frame;
  const model = serving.models[running.length];
  if (model === undefined) return use(running);
  const { file } = model;
  const { model: description, headerSha256 } = file;
  const observing = serving.models.length === 1 ? options : placeLogs(options, model.id);
  await using watch = await Watch.open({
    context,
    options: observing,
    model: description,
    headerSha256,
    engine,
    threads,
  });
  using planning = await PlanControl.open(context, options, watch.coordinatorOptions.observer);
  requireLocalNames(planning.wanted, options.workers);
  const limitBytes = memoryBytes(model);
  const news = new ClusterNews({
    prefix: serving.models.length === 1 ? "" : `${model.id}: `,
    say: (sentence) => context.out.note(sentence),
    nowMs: () => context.host.nowMs(),
  });
  const planned = planning.coordinatorOptions;
  const observer = planned.observer === undefined ? news : combineObservers(planned.observer, news);
  const request = {
    context,
    model: file.path,
    options,
    threads,
    workers: options.workers,
    grpcPort: chooseGrpcPort(options.grpcPort, running.length),
    watching: { ...watch.coordinatorOptions, ...planned, observer },
    onWorkerDeath: (error: NoodleError, waitMs: number) => observer.onEvent?.(makeRestartEvent(error, waitMs)),
    serving: readServing(options),
    ...(limitBytes === undefined ? {} : { workerArgs: ["--memory", String(limitBytes)] }),
  };
  await withLocalCluster(request, async (cluster: LocalCluster, tokenizer: Tokenizer) => {
    const { coordinator } = cluster;
    await planning.begin(coordinator, file.path);
    serving.add(model, { coordinator, tokenizer, metrics: watch.show(coordinator) });
    news.begin();
    try {
      await withModels(frame, [...running, { model, cluster }], use);
    } finally {
      news.end();
    }
  });
}

function announce({ out }: CommandContext, serving: Serving, running: readonly RunningModel[]): void {
  const described = running.map(({ model, cluster: { coordinator } }) => ({
    id: model.id,
    path: model.file.path,
    grpc_address: coordinator.address,
    context_tokens: coordinator.contextTokens,
    workers: coordinator.status().nodes.map(({ name, address, pid, units }) => ({ name, address, pid, units })),
  }));
  const first = must(described[0], "model");
  out.document({
    schema: "noodle.up.v1",
    grpc_address: first.grpc_address,
    http_address: serving.address,
    api_url: serving.url,
    pid: process.pid,
    context_tokens: first.context_tokens,
    workers: first.workers,
    models: described,
  });
  out.line(`ready: gRPC ${first.grpc_address}, HTTP ${serving.url} (API, chat page, /v1/status, /metrics)`);
  for (const { id, workers, grpc_address } of described) {
    out.line(`  ${id}${described.length === 1 ? "" : `, gRPC ${grpc_address}`}`);
    for (const node of workers) {
      out.line(`    ${node.name}: units ${node.units ?? "-"} on ${node.address}, pid ${node.pid}`);
    }
  }
  out.note(`try: ${serving.describeCall()}`);
  out.note(
    `or: noodle chat --coordinator ${serving.address}, or watch it: noodle top --coordinator ${first.grpc_address}`,
  );
}
