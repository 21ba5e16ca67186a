import { hostname } from "node:os";
import path from "node:path";
import type { Command } from "commander";
import { createStageFiles } from "../../cluster/stage-files/index.ts";
import { WorkerSupervisor } from "../../cluster/worker/index.ts";
import { defaultThreads, ENGINE_VERSION } from "../../engine/index.ts";
import type { WorkerMetrics } from "../../metrics/index.ts";
import { formatHostPort, LOOPBACK, parseHostPort, parsePort } from "../addresses.ts";
import { parseThreads } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { resolveDataDirectory } from "../directories.ts";
import { readTrustedEngineOptions } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { startMetricsServer } from "../metrics-server.ts";
import { PACKAGE_VERSION } from "../package.ts";
import { parseSizeBytes } from "../quantities.ts";

interface WorkerCommandOptions {
  readonly json?: boolean;
  readonly join: string;
  readonly listen: string;
  readonly advertise?: string;
  readonly name?: string;
  readonly data?: string;
  readonly memory?: number;
  readonly cache: number;
  readonly threads?: number;
  readonly exitWithCoordinator?: boolean;
  readonly metricsPort?: number;
  readonly metricsHost: string;
}

const DEFAULT_CACHE_BYTES = 64 * 2 ** 30;

export function addWorker(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "worker",
    summary: "join a coordinator with this machine: hold a stage of its model and compute it",
    examples: [
      "noodle worker --join 127.0.0.1:7421",
      "noodle worker --join 10.0.0.5:7421 --listen 0.0.0.0:7430 --advertise 10.0.0.6:7430 --memory 8GiB",
    ],
  })
    .requiredOption("--join <host:port>", "gRPC address of the coordinator")
    .option("--listen <host:port>", "address for the other stages, port 0 = any free one", `${LOOPBACK}:0`)
    .option("--advertise <host:port>", "the same address as the others reach it (default: --listen)")
    .option("--name <name>", "how people call this worker (default: the host's name)")
    .option("--data <dir>", "data directory: stage files and this worker's identity")
    .option("--memory <size>", "what NoodleCore may use (default: what is free at the start)", (text) =>
      parseSizeBytes(text, "--memory"),
    )
    .option(
      "--cache <size>",
      "most bytes of stage files to keep",
      (text) => parseSizeBytes(text, "--cache"),
      DEFAULT_CACHE_BYTES,
    )
    .option("--exit-with-coordinator", "end when the coordinator goes away instead of waiting for it")
    .option("--metrics-port <port>", "HTTP port of /metrics and /health, 0 = any free one (default: none)", (text) =>
      parsePort(text, "--metrics-port"),
    )
    .option("--metrics-host <address>", "address that --metrics-port listens on", LOOPBACK)
    .option("--threads <n>", "threads where the coordinator does not say (default: one for each core)", parseThreads)
    .action((options: WorkerCommandOptions) => work(openContext(host, options), options));
}

async function work({ out, host, signal }: CommandContext, options: WorkerCommandOptions): Promise<void> {
  const join = formatHostPort(parseHostPort(options.join, "--join"));
  const listen = parseHostPort(options.listen, "--listen", 0);
  const name = options.name ?? hostname();
  const dataDirectory = resolveDataDirectory(host.env, options.data);
  const worker = new WorkerSupervisor({
    join,
    listenHost: listen.host,
    listenPort: listen.port,
    ...(options.advertise === undefined
      ? {}
      : { advertise: formatHostPort(parseHostPort(options.advertise, "--advertise")) }),
    name,
    dataDirectory,
    ...(options.memory === undefined ? {} : { memoryLimitBytes: options.memory }),
    threads: options.threads ?? defaultThreads(),
    engine: { kind: "llama", ...readTrustedEngineOptions(host.env) },
    noodlecoreVersion: PACKAGE_VERSION,
    stageFiles: createStageFiles({
      directory: path.join(dataDirectory, "stages"),
      coordinator: join,
      cacheLimitBytes: options.cache,
      onCorrupt: (error) => out.note(`${error.code}: ${error.message}`),
    }),
    exitWithCoordinator: options.exitWithCoordinator ?? false,
    onNotice: (text) => out.note(text),
  });
  const stop = (): void => void worker.close("stopped by a signal");
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) return;
  const { metricsPort, metricsHost } = options;
  await using metrics =
    metricsPort === undefined ? null : await startMetricsServer(metricsHost, metricsPort, await countWork(worker));
  await worker.start();
  out.document({
    schema: "noodle.worker.v1",
    node_id: worker.nodeId,
    address: worker.stageAddress,
    pid: process.pid,
    join,
    metrics_address: metrics?.address ?? null,
  });
  out.line(`worker ${worker.nodeId} (${name}) serves on ${worker.stageAddress}`);
  if (metrics !== null) out.note(`metrics: http://${metrics.address}/metrics`);
  const error = await worker.closed;
  signal.throwIfAborted();
  if (error !== undefined) throw error;
}

/** Loaded where somebody asks for it: a worker has better uses for its memory. */
async function countWork(worker: WorkerSupervisor): Promise<WorkerMetrics> {
  const { WorkerMetrics } = await import("../../metrics/index.ts");
  return new WorkerMetrics(() => worker.snapshot(), {
    noodlecoreVersion: PACKAGE_VERSION,
    engineBuild: ENGINE_VERSION,
  });
}
