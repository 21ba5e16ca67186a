import { join } from "node:path";
import type { Command } from "commander";
import { combineObservers, Coordinator } from "../../cluster/coordinator/index.ts";
import { must, NoodleError } from "../../common/index.ts";
import { defaultThreads, type EngineIdentity, Tokenizer, tryTokenizer } from "../../engine/index.ts";
import { DEFAULT_GRPC_PORT, DEFAULT_HTTP_PORT } from "../../protocol/index.ts";
import { LOOPBACK, parsePort } from "../addresses.ts";
import { ClusterNews } from "../cluster-news.ts";
import { addClusterOptions, type ClusterOptions, parseWorkers } from "../cluster-options.ts";
import { addSecurityOptions, ClusterSecurity, type SecurityOptions } from "../cluster-security.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { resolveDataDirectory } from "../directories.ts";
import { prepareEngine, readEngineOptions } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { chooseGrpcPort, requireOneSplit } from "../model-shares.ts";
import { addObservingOptions, type ObservingOptions, placeLogs, Watch } from "../observing.ts";
import { PlanControl } from "../plan-control.ts";
import { readPlanFile } from "../plan-file.ts";
import { addPlanningOptions, checkPlanning, type PlanningOptions } from "../planning-options.ts";
import { Serving } from "../serving.ts";
import { addServingOptions, readServing, type ServingOptions } from "../serving-options.ts";
import { requireExactSplit } from "../split-verification.ts";
import { PATIENT_READY_TIMEOUT_MS, reportReadiness, untilAborted } from "../waiting.ts";

interface CoordinatorCommandOptions
  extends ClusterOptions,
    ObservingOptions,
    PlanningOptions,
    ServingOptions,
    SecurityOptions {
  readonly json?: boolean;
  readonly expect?: number;
  readonly host: string;
  readonly port: number;
  readonly grpcPort: number;
}

/** What all coordinators of one invocation have in common. */
interface Frame {
  readonly context: CommandContext;
  readonly options: CoordinatorCommandOptions;
  readonly serving: Serving;
  readonly security: ClusterSecurity;
  readonly engine: EngineIdentity;
  readonly expect: number;
  /** Of the plan's file. */
  readonly split: string | undefined;
}

/** One model's coordinator, running. */
interface RunningCoordinator {
  readonly coordinator: Coordinator;
  readonly planning: PlanControl;
  readonly news: ClusterNews;
  /** The model's file. */
  readonly model: string;
}

export function addCoordinator(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "coordinator <models...>",
    summary: "run a cluster's coordinator: it waits for workers, gives out stages and serves the HTTP API",
    examples: [
      "noodle coordinator model.gguf --expect 3",
      "noodle coordinator model.gguf --expect 2 --host 0.0.0.0 --split 0:9,9:18 --cluster-dir /etc/noodle/cluster",
      "noodle coordinator model.gguf --plan plan.json",
      "noodle coordinator small.gguf large.gguf --expect 2",
    ],
  }).option("--expect <k>", "workers that each model starts with (default: the stages of --split)", (text) =>
    parseWorkers(text, "--expect"),
  );
  addSecurityOptions(addServingOptions(addPlanningOptions(addObservingOptions(addClusterOptions(command)))))
    .option("--host <address>", "address to listen on", LOOPBACK)
    .option(
      "--port <port>",
      "HTTP port of the API, the chat page, status, health and metrics",
      (text) => parsePort(text, "--port"),
      DEFAULT_HTTP_PORT,
    )
    .option(
      "--grpc-port <port>",
      "gRPC port; a second model's has the next one",
      (text) => parsePort(text, "--grpc-port"),
      DEFAULT_GRPC_PORT,
    )
    .action((models: readonly string[], options: CoordinatorCommandOptions) =>
      coordinate(openContext(host, options), models, options),
    );
}

async function coordinate(
  context: CommandContext,
  models: readonly string[],
  options: CoordinatorCommandOptions,
): Promise<void> {
  const { host, signal } = context;
  requireOneSplit(models, options.split);
  checkPlanning(options, models);
  const wanted = options.plan === undefined || options.plan === "auto" ? null : await readPlanFile(options.plan);
  const expect = options.expect ?? wanted?.order.length ?? options.split?.split(",").length;
  if (expect === undefined) throw new NoodleError("USAGE", "give --expect, the number of workers, --split or --plan");
  using security = await ClusterSecurity.open(context, options, options.host);
  const { host: address, port } = options;
  await using serving = await Serving.open({ context, options, models, host: address, port, security: security.api });
  const engine = prepareEngine(host.env);
  const frame = { context, options, serving, security, engine, expect, split: wanted?.split };
  await withCoordinators(frame, [], async (running) => {
    announce(
      frame,
      running.map(({ coordinator }) => coordinator),
    );
    try {
      // A later coordinator of the same state is the one to ask from then on.
      await Promise.race([
        serveUntilAborted(frame, running),
        ...running.map(({ coordinator }) => coordinator.untilTaken(signal)),
      ]);
    } finally {
      // Before what they are computed by: a request that runs is told that it is over.
      await serving.close();
    }
  });
  signal.throwIfAborted();
}

async function serveUntilAborted({ context, serving }: Frame, running: readonly RunningCoordinator[]): Promise<void> {
  const { out, signal } = context;
  const report = reportReadiness(out);
  for (const { coordinator, planning, news, model } of running) {
    await coordinator.waitReady(signal, PATIENT_READY_TIMEOUT_MS, report, ({ code, message }) => {
      out.note(`${code}: ${message}; another worker can take this stage, requests are refused until then`);
    });
    await planning.begin(coordinator, model);
    news.begin();
  }
  const { address } = must(running[0], "coordinator").coordinator;
  out.note(`ready: noodle generate --coordinator ${address} -p "Once upon a time"`);
  out.note(`or: ${serving.describeCall()}`);
  await untilAborted(signal);
}

/** Starts the models' coordinators one after the other, and ends them in the opposite order. */
async function withCoordinators(
  frame: Frame,
  running: readonly RunningCoordinator[],
  use: (running: readonly RunningCoordinator[]) => Promise<void>,
): Promise<void> {
  const { context, options, serving, engine, expect } = frame;
  const { host, signal } = context;
  const named = serving.models[running.length];
  if (named === undefined) return use(running);
  const { path: model, model: description, headerSha256 } = named.file;
  const { split, threads, parallel, unverified } = options;
  await requireExactSplit(context, {
    model,
    split: split ?? frame.split,
    workers: expect,
    threads: threads ?? defaultThreads(),
    allowUnverified: unverified === true,
  });
  await tryTokenizer(model, readEngineOptions(host.env), signal);
  using tokenizer = Tokenizer.open(model);
  const grpcPort = chooseGrpcPort(options.grpcPort, running.length);
  await using watch = await Watch.open({
    context,
    options: serving.models.length === 1 ? options : placeLogs(options, named.id),
    model: description,
    headerSha256,
    engine,
    threads: threads ?? null,
  });
  using planning = await PlanControl.open(context, options, watch.coordinatorOptions.observer);
  const news = new ClusterNews({
    prefix: serving.models.length === 1 ? "" : `${named.id}: `,
    say: (sentence) => context.out.note(sentence),
    nowMs: () => host.nowMs(),
  });
  const planned = planning.coordinatorOptions;
  await using coordinator = await Coordinator.start({
    ...watch.coordinatorOptions,
    ...planned,
    observer: planned.observer === undefined ? news : combineObservers(planned.observer, news),
    ...readServing(options),
    model,
    tokenizer,
    signal,
    expect,
    dataDir: join(resolveDataDirectory(host.env, options.data), "coordinators", String(grpcPort)),
    host: options.host,
    security: frame.security.coordinator,
    grpcPort,
    ...(split === undefined ? {} : { split }),
    ...(threads === undefined ? {} : { threads }),
    ...(options.context === undefined ? {} : { contextTokens: options.context }),
    ...(parallel === undefined ? {} : { parallel }),
    ...(unverified === undefined ? {} : { unverified }),
  });
  serving.add(named, { coordinator, tokenizer, metrics: watch.show(coordinator) });
  try {
    await withCoordinators(frame, [...running, { coordinator, planning, news, model }], use);
  } finally {
    news.end();
  }
}

function announce({ context: { out }, serving, security, expect }: Frame, coordinators: readonly Coordinator[]): void {
  const models = serving.models.map(({ id, file }, index) => {
    const { address, contextTokens } = must(coordinators[index], "coordinator");
    return { id, path: file.path, grpc_address: address, context_tokens: contextTokens };
  });
  const first = must(models[0], "model");
  out.document({
    schema: "noodle.coordinator.v1",
    grpc_address: first.grpc_address,
    http_address: serving.address,
    api_url: serving.url,
    pid: process.pid,
    expect,
    context_tokens: first.context_tokens,
    models,
  });
  for (const { path, grpc_address } of models) {
    out.line(
      `coordinator of ${path}: gRPC ${grpc_address}, HTTP ${serving.url} (API, chat page, /v1/status, /metrics)`,
    );
  }
  const token = security.coordinator === undefined ? "" : "TOKEN@";
  const joins = models.map(({ grpc_address }) => `--join ${token}${grpc_address}`).join(" ");
  out.note(`start ${expect} of: noodle worker ${joins}`);
  if (token !== "") out.note("each TOKEN is one of `noodle cluster token`");
}
