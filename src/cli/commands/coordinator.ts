import { join } from "node:path";
import type { Command } from "commander";
import { Coordinator } from "../../cluster/coordinator/index.ts";
import { NoodleError } from "../../common/index.ts";
import { defaultThreads, Tokenizer, tryTokenizer } from "../../engine/index.ts";
import { DEFAULT_GRPC_PORT, DEFAULT_HTTP_PORT } from "../../protocol/index.ts";
import { LOOPBACK, parsePort } from "../addresses.ts";
import { addClusterOptions, type ClusterOptions, parseWorkers } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { resolveDataDirectory } from "../directories.ts";
import { prepareEngine, readEngineOptions } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { addObservingOptions, describeModelFile, type ObservingOptions, Watch } from "../observing.ts";
import { requireExactSplit } from "../split-verification.ts";
import { StatusServer } from "../status-server.ts";
import { PATIENT_READY_TIMEOUT_MS, reportReadiness, untilAborted } from "../waiting.ts";

interface CoordinatorCommandOptions extends ClusterOptions, ObservingOptions {
  readonly json?: boolean;
  readonly expect?: number;
  readonly host: string;
  readonly port: number;
  readonly grpcPort: number;
}

export function addCoordinator(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "coordinator <model>",
    summary: "run a cluster's coordinator: it waits for workers, gives out stages and runs sessions",
    examples: [
      "noodle coordinator model.gguf --expect 3",
      "noodle coordinator model.gguf --expect 2 --host 0.0.0.0 --split 0:9,9:18",
    ],
  }).option("--expect <k>", "workers that the cluster starts with (default: the stages of --split)", (text) =>
    parseWorkers(text, "--expect"),
  );
  addObservingOptions(addClusterOptions(command))
    .option("--host <address>", "address to listen on", LOOPBACK)
    .option(
      "--port <port>",
      "HTTP port of status, health and metrics",
      (text) => parsePort(text, "--port"),
      DEFAULT_HTTP_PORT,
    )
    .option("--grpc-port <port>", "gRPC port", (text) => parsePort(text, "--grpc-port"), DEFAULT_GRPC_PORT)
    .action((model: string, options: CoordinatorCommandOptions) =>
      coordinate(openContext(host, options), model, options),
    );
}

async function coordinate(context: CommandContext, model: string, options: CoordinatorCommandOptions): Promise<void> {
  const { out, host, signal } = context;
  const expect = options.expect ?? options.split?.split(",").length;
  if (expect === undefined) throw new NoodleError("USAGE", "give --expect, the number of workers, or --split");
  const described = await describeModelFile(model);
  await using http = await StatusServer.start(options.host, options.port);
  const engine = prepareEngine(host.env);
  await requireExactSplit(context, {
    model,
    split: options.split,
    workers: expect,
    threads: options.threads ?? defaultThreads(),
    allowUnverified: options.unverified === true,
  });
  await tryTokenizer(model, readEngineOptions(host.env), signal);
  using tokenizer = Tokenizer.open(model);
  const { split, threads, parallel, unverified } = options;
  await using watch = await Watch.open({ context, options, ...described, engine, threads: threads ?? null });
  await using coordinator = await Coordinator.start({
    ...watch.coordinatorOptions,
    model,
    tokenizer,
    signal,
    expect,
    dataDir: join(resolveDataDirectory(host.env, options.data), "coordinators", String(options.grpcPort)),
    host: options.host,
    grpcPort: options.grpcPort,
    ...(split === undefined ? {} : { split }),
    ...(threads === undefined ? {} : { threads }),
    ...(options.context === undefined ? {} : { contextTokens: options.context }),
    ...(parallel === undefined ? {} : { parallel }),
    ...(unverified === undefined ? {} : { unverified }),
  });
  watch.show(http, coordinator);
  out.document({
    schema: "noodle.coordinator.v1",
    grpc_address: coordinator.address,
    http_address: http.address,
    pid: process.pid,
    expect,
    context_tokens: coordinator.contextTokens,
  });
  out.line(`coordinator of ${model}: gRPC ${coordinator.address}, HTTP http://${http.address}/v1/status and /metrics`);
  out.note(`start ${expect} of: noodle worker --join ${coordinator.address}`);
  await coordinator.waitReady(signal, PATIENT_READY_TIMEOUT_MS, reportReadiness(out));
  out.note(`ready: noodle generate --coordinator ${coordinator.address} -p "Once upon a time"`);
  await untilAborted(signal);
  signal.throwIfAborted();
}
