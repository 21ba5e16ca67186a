import { hostname } from "node:os";
import path from "node:path";
import type { Command } from "commander";
import { createStageFiles } from "../../cluster/stage-files/index.ts";
import { WorkerSupervisor } from "../../cluster/worker/index.ts";
import { defaultThreads, ENGINE_VERSION } from "../../engine/index.ts";
import { must } from "../../common/index.ts";
import { formatHostPort, LOOPBACK, parseHostPort, parsePort } from "../addresses.ts";
import { parseThreads } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { resolveDataDirectory } from "../directories.ts";
import { readTrustedEngineOptions } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { type MetricsSource, startMetricsServer } from "../metrics-server.ts";
import { PACKAGE_VERSION } from "../package.ts";
import { parseSizeBytes } from "../quantities.ts";
import { shareJoins, type WorkerJoin } from "../worker-joins.ts";

interface WorkerCommandOptions {
  readonly json?: boolean;
  readonly join: readonly string[];
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
      "noodle worker --join 10.0.0.5:7421 --join 10.0.0.5:7422",
    ],
  })
    .requiredOption(
      "--join <host:port>",
      "gRPC address of the coordinator; given again, a stage of another coordinator's model too",
      (text: string, before: readonly string[] | undefined) => [...(before ?? []), text],
    )
    .option(
      "--listen <host:port>",
      "address for the other stages, port 0 = any free one; a second --join has the next port",
      `${LOOPBACK}:0`,
    )
    .option("--advertise <host:port>", "the same address as the others reach it (default: --listen)")
    .option("--name <name>", "how people call this worker (default: the host's name)")
    .option("--data <dir>", "data directory: stage files and this worker's identity")
    .option(
      "--memory <size>",
      "what NoodleCore may use, for all of --join (default: what is free at the start)",
      (text) => parseSizeBytes(text, "--memory"),
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

async function work(context: CommandContext, options: WorkerCommandOptions): Promise<void> {
  const { out, signal } = context;
  const joins = await shareJoins(options.join, options.memory, signal);
  const workers = joins.map((join, index) => createWorker(context, options, join, index));
  const stop = (): void => workers.forEach((worker) => void worker.close("stopped by a signal"));
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) return;
  const { metricsPort, metricsHost } = options;
  await using metrics =
    metricsPort === undefined
      ? null
      : await startMetricsServer(metricsHost, metricsPort, await countWork(workers, joins));
  try {
    for (const worker of workers) await worker.start();
    announce(context, options, workers, joins, metrics?.address ?? null);
    // The first that ends has a reason; the others would hide it.
    const error = await Promise.race(workers.map((worker) => worker.closed));
    signal.throwIfAborted();
    if (error !== undefined) throw error;
    if (workers.length > 1) out.note("one of the coordinators is gone: the worker leaves the others too");
  } finally {
    await Promise.all(workers.map((worker) => worker.close("the worker is ending")));
  }
}

/** A supervisor for one coordinator. All of them keep their stage files in one place. */
function createWorker(
  { out, host }: CommandContext,
  options: WorkerCommandOptions,
  { address, memoryBytes }: WorkerJoin,
  index: number,
): WorkerSupervisor {
  const listen = parseHostPort(options.listen, "--listen", 0);
  const dataDirectory = resolveDataDirectory(host.env, options.data);
  return new WorkerSupervisor({
    join: address,
    listenHost: listen.host,
    listenPort: addPort(listen, index),
    ...(options.advertise === undefined ? {} : { advertise: advertise(options.advertise, index) }),
    name: options.name ?? hostname(),
    // Each is a node of its own, and the same one at its next start.
    dataDirectory: index === 0 ? dataDirectory : path.join(dataDirectory, "joins", String(index + 1)),
    ...(memoryBytes === null ? {} : { memoryLimitBytes: memoryBytes }),
    threads: options.threads ?? defaultThreads(),
    engine: { kind: "llama", ...readTrustedEngineOptions(host.env) },
    noodlecoreVersion: PACKAGE_VERSION,
    stageFiles: createStageFiles({
      directory: path.join(dataDirectory, "stages"),
      coordinator: address,
      cacheLimitBytes: options.cache,
      onCorrupt: (error) => out.note(`${error.code}: ${error.message}`),
    }),
    exitWithCoordinator: options.exitWithCoordinator ?? false,
    onNotice: (text) => out.note(text),
  });
}

function advertise(text: string, index: number): string {
  const address = parseHostPort(text, "--advertise");
  return formatHostPort({ ...address, port: addPort(address, index) });
}

function addPort({ port }: { readonly port: number }, index: number): number {
  return port === 0 ? 0 : parsePort(String(port + index), "--listen: the port");
}

function announce(
  { out }: CommandContext,
  options: WorkerCommandOptions,
  workers: readonly WorkerSupervisor[],
  joins: readonly WorkerJoin[],
  metricsAddress: string | null,
): void {
  const described = workers.map((worker, index) => ({
    node_id: worker.nodeId,
    address: worker.stageAddress,
    join: must(joins[index], "join").address,
  }));
  const first = must(described[0], "worker");
  out.document({
    schema: "noodle.worker.v1",
    node_id: first.node_id,
    address: first.address,
    pid: process.pid,
    join: first.join,
    joins: described,
    metrics_address: metricsAddress,
  });
  for (const { node_id, address, join } of described) {
    const of = described.length === 1 ? "" : ` for ${join}`;
    out.line(`worker ${node_id} (${options.name ?? hostname()}) serves on ${address}${of}`);
  }
  if (metricsAddress !== null) out.note(`metrics: http://${metricsAddress}/metrics`);
}

/** Loaded where somebody asks for it: a worker has better uses for its memory. */
async function countWork(workers: readonly WorkerSupervisor[], joins: readonly WorkerJoin[]): Promise<MetricsSource> {
  const [{ WorkerMetrics }, { mergeMetrics }] = await Promise.all([
    import("../../metrics/index.ts"),
    import("../merge-metrics.ts"),
  ]);
  const build = { noodlecoreVersion: PACKAGE_VERSION, engineBuild: ENGINE_VERSION };
  const sources = workers.map((worker) => new WorkerMetrics(() => worker.snapshot(), build));
  const [first] = sources;
  if (first !== undefined && sources.length === 1) return first;
  const name = (index: number): string => must(joins[index], "join").address;
  return mergeMetrics(
    "coordinator",
    sources.map((source, index) => ({ name: name(index), source })),
  );
}
