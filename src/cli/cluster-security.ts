import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import type { CoordinatorSecurity } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import type { ClientSecurity } from "../net/index.ts";
import {
  ApiKeys,
  checkExposure,
  ClusterFolder,
  isLoopback,
  Membership,
  OPEN_OPTION,
  Roster,
} from "../security/index.ts";
import type { CommandContext } from "./command.ts";
import { resolveDataDirectory } from "./directories.ts";

type Environment = Readonly<Record<string, string | undefined>>;

export interface SecurityOptions {
  readonly clusterDir?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecureTrustedNetwork?: boolean;
}

/** What the HTTP API is protected with. */
export interface ApiSecurity {
  /** PEM; null = plain HTTP. */
  readonly tls: { readonly certificatePem: string; readonly privateKeyPem: string } | null;
  /** SHA-256 of the keys that are asked for at this moment, hex; null where the cluster has no folder. */
  readonly keyHashes: (() => readonly string[]) | null;
  /** @throws NoodleError `EXPOSURE_REFUSED` where it would stand open */
  readonly check: (keys: number) => void;
}

const WARN_MS = 60_000;
const KEYS_CACHE_MS = 500;
const CURE =
  "make the cluster's authority with `noodle cluster init`, an API key with `noodle cluster key add`, and give --cluster-dir";

export function addSecurityOptions(command: Command): Command {
  return command
    .option("--cluster-dir <dir>", "what `noodle cluster init` made: workers and operators need certificates of it")
    .option("--tls-cert <file>", "PEM certificate of the HTTP API (default: of --cluster-dir's authority)")
    .option("--tls-key <file>", "PEM key of --tls-cert")
    .option(OPEN_OPTION, "listen beyond loopback without TLS and keys: whoever reaches this machine can use it");
}

/** The folder of a cluster's authority: the option, then NOODLE_CLUSTER_DIR, then one in the data directory. */
export function resolveClusterFolder(env: Environment, option: string | undefined): string {
  const chosen = option ?? env["NOODLE_CLUSTER_DIR"];
  return chosen !== undefined && chosen !== "" ? resolve(chosen) : join(resolveDataDirectory(env), "cluster");
}

/** How this user asks a coordinator: as NOODLE_CLUSTER_DIR's operator, or in plaintext. */
export function readOperatorSecurity(env: Environment): ClientSecurity | undefined {
  const folder = env["NOODLE_CLUSTER_DIR"];
  if (folder === undefined || folder === "") return undefined;
  const credentials = new ClusterFolder(resolve(folder)).openOperator();
  return { credentials: () => credentials, peer: { role: "coordinator" } };
}

/** What a coordinator's process is protected with. */
export class ClusterSecurity implements Disposable {
  readonly coordinator: CoordinatorSecurity | undefined;
  readonly api: ApiSecurity;
  readonly #warnings: NodeJS.Timeout[] = [];

  /**
   * @param host that it will listen on
   * @throws NoodleError `EXPOSURE_REFUSED`, `USAGE`, the errors of the files
   */
  static async open(context: CommandContext, options: SecurityOptions, host: string): Promise<ClusterSecurity> {
    const nowMs = Date.now();
    const path = options.clusterDir ?? context.host.env["NOODLE_CLUSTER_DIR"];
    const folder = path === undefined || path === "" ? null : new ClusterFolder(resolve(path));
    const credentials = await folder?.openCoordinator(nowMs);
    const names = ["localhost", "127.0.0.1", "::1", hostname(), host].filter(
      (name) => name !== "0.0.0.0" && name !== "::",
    );
    const given = await readTls(options);
    const made =
      given === null && !isLoopback(host) ? ((await folder?.makeServer([...new Set(names)], nowMs)) ?? null) : null;
    return new ClusterSecurity(context, options, host, folder, credentials, given ?? made);
  }

  private constructor(
    { out }: CommandContext,
    options: SecurityOptions,
    host: string,
    folder: ClusterFolder | null,
    credentials: CoordinatorSecurity["credentials"] | undefined,
    tls: ApiSecurity["tls"],
  ) {
    const isTrusted = options.insecureTrustedNetwork === true;
    const common = { host, option: "--host", cure: CURE, isTrusted };
    const warn = (warning: string | null): void => {
      if (warning === null) return;
      out.note(`WARNING: ${warning}`);
      this.#warnings.push(setInterval(() => out.note(`WARNING: ${warning}`), WARN_MS).unref());
    };
    warn(checkExposure({ ...common, what: "the coordinator's gRPC", isProtected: folder !== null }));
    this.api = {
      tls,
      keyHashes: folder === null ? null : cacheKeys(new ApiKeys(folder.path)),
      check: (keys) => warn(checkExposure({ ...common, what: "the HTTP API", isProtected: tls !== null && keys > 0 })),
    };
    if (folder === null || credentials === undefined) return;
    const membership = new Membership(folder);
    const roster = new Roster(membership, (error) => out.note(`${error.code}: ${error.message}`));
    this.coordinator = { credentials, membership, roster };
  }

  [Symbol.dispose](): void {
    for (const timer of this.#warnings) clearInterval(timer);
    this.coordinator?.roster[Symbol.dispose]();
  }
}

/** Reads the folder now and then: a key that was added or revoked counts within half a second. */
function cacheKeys(keys: ApiKeys): () => readonly string[] {
  let hashes = keys.hashes();
  let readMs = performance.now();
  return () => {
    const nowMs = performance.now();
    if (nowMs - readMs > KEYS_CACHE_MS) {
      hashes = keys.hashes();
      readMs = nowMs;
    }
    return hashes;
  };
}

async function readTls({ tlsCert, tlsKey }: SecurityOptions): Promise<ApiSecurity["tls"]> {
  if (tlsCert === undefined && tlsKey === undefined) return null;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new NoodleError("USAGE", "--tls-cert and --tls-key belong together");
  }
  try {
    const [certificatePem, privateKeyPem] = await Promise.all([readFile(tlsCert, "utf8"), readFile(tlsKey, "utf8")]);
    return { certificatePem, privateKeyPem };
  } catch (error) {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
}
