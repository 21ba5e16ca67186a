import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { CoordinatorOptions, WantedPlan } from "../cluster/coordinator/index.ts";
import { LocalCluster } from "../cluster/local/index.ts";
import { type FileLock, tryLock } from "../cluster/stage-files/index.ts";
import { NoodleError } from "../common/index.ts";
import { defaultThreads, Tokenizer, tryTokenizer } from "../engine/index.ts";
import type { ClusterOptions } from "./cluster-options.ts";
import type { CommandContext } from "./command.ts";
import { resolveDataDirectory } from "./directories.ts";
import { readEngineOptions } from "./engine.ts";
import { PACKAGE_ROOT } from "./package.ts";
import { requireExactSplit } from "./split-verification.ts";
import { LOCAL_READY_TIMEOUT_MS, reportReadiness } from "./waiting.ts";

/** What every run of this release is made of, undivided or not: a reference repeats it. */
export const PREFILL_ROWS = 256;
export const MAX_ROWS = 512;
const DEFAULT_PARALLEL = 8;
const DEFAULT_CONTEXT_TOKENS = 4096;

const MAX_LOCAL_CLUSTERS = 256;

export interface LocalClusterRequest {
  readonly context: CommandContext;
  readonly model: string;
  readonly options: ClusterOptions;
  readonly threads: number;
  readonly workers: number;
  /** @default any free one */
  readonly grpcPort?: number;
  /** Who watches the coordinator. */
  readonly watching?: Partial<CoordinatorOptions>;
  /** How it serves requests. @default as a reference can repeat it */
  readonly serving?: Partial<CoordinatorOptions>;
  /** Further arguments of each worker. */
  readonly workerArgs?: readonly string[];
  /** Told why a worker's process ended, and how long it is before it is started again. */
  readonly onWorkerDeath?: (error: NoodleError, waitMs: number) => void;
  /** Looks at the request before anything is started. */
  readonly check?: (tokenizer: Tokenizer) => void;
}

/** Context of a session: what is asked for, otherwise 4096 or the model's if that is shorter. */
export function chooseContextTokens(wanted: number | undefined, trained: number): number {
  return wanted ?? (trained === 0 ? DEFAULT_CONTEXT_TOKENS : Math.min(DEFAULT_CONTEXT_TOKENS, trained));
}

export function chooseParallel(wanted: number | undefined): number {
  return wanted ?? DEFAULT_PARALLEL;
}

/** Workers on one machine share its cores: threads that wait for each other would only be in the way. */
export function chooseLocalThreads(wanted: number | undefined, workers: number): number {
  return wanted ?? Math.max(1, Math.floor(defaultThreads() / workers));
}

/** @throws PLAN_INVALID for a plan of more workers than are started, or of workers with other names */
export function requireLocalNames(plan: WantedPlan | null, workers: number): void {
  const unknown = plan?.order.find((name) => !/^worker-[1-9]\d*$/.test(name) || Number(name.slice(7)) > workers);
  if (plan === null || unknown === undefined) return;
  const names = workers === 1 ? "worker-1" : `worker-1 to worker-${workers}`;
  throw new NoodleError(
    "PLAN_INVALID",
    `the plan names "${unknown}" (${plan.order.join(", ")}); ${workers} local worker${workers === 1 ? " is" : "s are"} ${names}: change --workers, or plan for these names`,
  );
}

/**
 * Starts a coordinator in this process and worker processes around it, runs `use`, and ends all of them, however `use`
 * ends. The engine must be prepared.
 */
export async function withLocalCluster<T>(
  request: LocalClusterRequest,
  use: (cluster: LocalCluster, tokenizer: Tokenizer) => Promise<T>,
): Promise<T> {
  const { context, model, options, threads, workers, grpcPort, workerArgs, onWorkerDeath } = request;
  const { out, host, signal } = context;
  const { split, context: contextTokens, unverified } = options;
  const entry = join(PACKAGE_ROOT, "dist", "cli", "main.js");
  if (!existsSync(entry)) throw new NoodleError("ILLEGAL_STATE", `${entry} is not there: run \`npm run build\``);
  using directory = claimClusterDirectory(resolveDataDirectory(host.env, options.data));
  await tryTokenizer(model, readEngineOptions(host.env), signal);
  using tokenizer = Tokenizer.open(model);
  request.check?.(tokenizer);
  const planned = request.watching?.plan?.split;
  await requireExactSplit(context, {
    model,
    split: split ?? planned,
    workers,
    threads,
    allowUnverified: unverified === true,
  });
  out.progress.phase(`starting a coordinator and ${workers} worker${workers === 1 ? "" : "s"} on this machine`);
  const cluster = await LocalCluster.start(
    {
      ...request.watching,
      ...(request.serving ?? { prefillRows: PREFILL_ROWS }),
      model,
      tokenizer,
      workers,
      entry,
      dataDir: directory.path,
      threads,
      parallel: chooseParallel(options.parallel),
      maxRows: MAX_ROWS,
      readyTimeoutMs: LOCAL_READY_TIMEOUT_MS,
      ...(grpcPort === undefined ? {} : { grpcPort }),
      ...(onWorkerDeath === undefined ? {} : { onWorkerDeath }),
      ...(workerArgs === undefined ? {} : { workerArgs: () => workerArgs }),
      ...(split === undefined ? {} : { split }),
      ...(contextTokens === undefined ? {} : { contextTokens }),
      ...(unverified === undefined ? {} : { unverified }),
    },
    { signal, onProgress: reportReadiness(out) },
  );
  try {
    return await use(cluster, tokenizer);
  } finally {
    await cluster.close();
  }
}

interface ClusterDirectory extends Disposable {
  readonly path: string;
}

/** A folder that no other cluster of this machine uses now; the next start finds its stage files there again. */
function claimClusterDirectory(dataDirectory: string): ClusterDirectory {
  for (let index = 0; index < MAX_LOCAL_CLUSTERS; index++) {
    const path = join(dataDirectory, "local", String(index));
    mkdirSync(path, { recursive: true });
    const lock: FileLock | undefined = tryLock(join(path, "cluster.lock"));
    if (lock !== undefined) return { path, [Symbol.dispose]: () => lock.release() };
  }
  throw new NoodleError("USAGE", `${MAX_LOCAL_CLUSTERS} clusters run in ${dataDirectory}; choose another with --data`);
}
