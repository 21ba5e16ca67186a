import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { type Command, Option } from "commander";
import { createStageFiles } from "../../cluster/stage-files/index.ts";
import { WorkerMember, WorkerSupervisor } from "../../cluster/worker/index.ts";
import { defaultThreads, ENGINE_VERSION } from "../../engine/index.ts";
import { must, NoodleError } from "../../common/index.ts";
import { checkExposure, OPEN_OPTION } from "../../security/index.ts";
import { formatHostPort, LOOPBACK, parseHostPort, parsePort } from "../addresses.ts";
import { parseThreads } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { resolveDataDirectory } from "../directories.ts";
import { readTrustedEngineOptions } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { type MetricsSource, startMetricsServer } from "../metrics-server.ts";
import { PACKAGE_VERSION } from "../package.ts";
import { parseDecimal, parseSizeBytes } from "../quantities.ts";
import { shareJoins, type WorkerJoin } from "../worker-joins.ts";

/** A worker that is told to stop waits so long for others to take its stage. */
const LEAVE_PATIENCE_MS = 10_000;

interface WorkerCommandOptions {
  readonly json?: boolean;
  readonly join: readonly string[];
  readonly listen: string;
  readonly advertise?: string;
  readonly name?: string;
  readonly data?: string;
  readonly identity?: string;
  readonly memory?: number;
  readonly cache: number;
  readonly threads?: number;
  readonly exitWithCoordinator?: boolean;
  readonly metricsPort?: number;
  readonly metricsHost: string;
  readonly tokenFile?: string;
  readonly insecureTrustedNetwork?: boolean;
  readonly emulateSpeed?: number;
}

const WARN_MS = 60_000;
const DEFAULT_CACHE_BYTES = 64 * 2 ** 30;

export function addWorker(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "worker",
    summary: "join a coordinator with this machine: hold a stage of its model and compute it",
    examples: [
      "noodle worker --join 127.0.0.1:7421",
      "noodle worker --join TOKEN@10.0.0.5:7421 --listen 0.0.0.0:7430 --advertise 10.0.0.6:7430 --memory 8GiB",
      "noodle worker --join 10.0.0.5:7421 --join 10.0.0.5:7422",
    ],
  })
    .requiredOption(
      "--join <[token@]host:port>",
      "gRPC address of the coordinator, behind a token of `noodle cluster token` where it asks for certificates; given again, a stage of another coordinator's model too",
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
    .option("--identity <dir>", "the identity apart: workers of one machine may then share --data (default: in --data)")
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
    .addOption(
      new Option(
        "--emulate-speed <f>",
        "stand for a machine that takes f times as long: wait idly behind each call",
      ).argParser((text) => parseDecimal(text, "--emulate-speed", 1, 1000)),
    )
    .option("--token-file <file>", "the token of the first --join: a file keeps it out of the process list")
    .option(OPEN_OPTION, "listen beyond loopback without certificates: whoever reaches this machine can use it")
    .option("--threads <n>", "threads where the coordinator does not say (default: one for each core)", parseThreads)
    .action((options: WorkerCommandOptions) => work(openContext(host, options), options));
}

async function work(context: CommandContext, options: WorkerCommandOptions): Promise<void> {
  const { out, signal } = context;
  const joins = await shareJoins(await addToken(options), options.memory, signal);
  using _warnings = checkListening(context, options, joins);
  const workers = joins.map((join, index) => createWorker(context, options, join, index));
  const stop = (): void => workers.forEach((worker) => void worker.leave("stopped by a signal", LEAVE_PATIENCE_MS));
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
  { address, memoryBytes, token }: WorkerJoin,
  index: number,
): WorkerSupervisor {
  const listen = parseHostPort(options.listen, "--listen", 0);
  const dataDirectory = resolveDataDirectory(host.env, options.data);
  const name = options.name ?? hostname();
  // Each is a node of its own, and the same one at its next start.
  const ownDirectory = index === 0 ? dataDirectory : path.join(dataDirectory, "joins", String(index + 1));
  const member = token === null ? undefined : new WorkerMember({ address, token, dataDirectory: ownDirectory, name });
  return new WorkerSupervisor({
    join: address,
    member,
    listenHost: listen.host,
    listenPort: addPort(listen, index),
    ...(options.advertise === undefined ? {} : { advertise: advertise(options.advertise, index) }),
    name,
    dataDirectory: ownDirectory,
    ...(options.identity === undefined ? {} : { identityDirectory: path.join(options.identity, String(index + 1)) }),
    ...(memoryBytes === null ? {} : { memoryLimitBytes: memoryBytes }),
    threads: options.threads ?? defaultThreads(),
    engine: {
      kind: "llama",
      ...readTrustedEngineOptions(host.env),
      ...(options.emulateSpeed === undefined ? {} : { emulatedSlowness: options.emulateSpeed }),
    },
    noodlecoreVersion: PACKAGE_VERSION,
    stageFiles: createStageFiles({
      directory: path.join(dataDirectory, "stages"),
      coordinator: address,
      security: member?.towardsCoordinator,
      cacheLimitBytes: options.cache,
      onCorrupt: (error) => out.note(`${error.code}: ${error.message}`),
    }),
    exitWithCoordinator: options.exitWithCoordinator ?? false,
    onNotice: (text) => out.note(text),
  });
}

async function addToken({ join, tokenFile }: WorkerCommandOptions): Promise<readonly string[]> {
  const [first = "", ...others] = join;
  if (tokenFile === undefined) return join;
  if (first.includes("@")) throw new NoodleError("USAGE", "--token-file: the first --join has a token already");
  try {
    return [`${(await readFile(tokenFile, "utf8")).trim()}@${first}`, ...others];
  } catch (error) {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
}

/** @returns what repeats the warnings until it is disposed. @throws NoodleError `EXPOSURE_REFUSED` */
function checkListening(
  { out }: CommandContext,
  { listen, metricsPort, metricsHost, insecureTrustedNetwork }: WorkerCommandOptions,
  joins: readonly WorkerJoin[],
): Disposable {
  const isTrusted = insecureTrustedNetwork === true;
  const warnings = [
    checkExposure({
      host: parseHostPort(listen, "--listen", 0).host,
      option: "--listen",
      what: "the worker's data plane",
      isProtected: joins.every(({ token }) => token !== null),
      cure: "join with a token of `noodle cluster token`",
      isTrusted,
    }),
    checkExposure({
      host: metricsPort === undefined ? LOOPBACK : metricsHost,
      option: "--metrics-host",
      what: "the worker's metrics",
      isProtected: false,
      cure: "read them over loopback, or through a proxy that asks who reads",
      isTrusted,
    }),
  ].filter((warning) => warning !== null);
  const warn = (): void => warnings.forEach((warning) => out.note(`WARNING: ${warning}`));
  warn();
  const timer = setInterval(warn, WARN_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
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
