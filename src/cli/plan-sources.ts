import { readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { StatusDocument } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import {
  type Cluster,
  describePlacementModel,
  listProfilePaths,
  type PlacementModel,
  type PlacementNode,
  readCluster,
  resolveNodes,
} from "../placement/index.ts";
import type { ProfileDocument } from "../profile/index.ts";
import { readModelHeader } from "../profiler/index.ts";
import type { ClientSecurity } from "../net/index.ts";
import { formatHostPort, parseHostPort } from "./addresses.ts";
import { readOperatorSecurity } from "./cluster-security.ts";
import type { CommandContext } from "./command.ts";
import { readProfileFile } from "./profile-choice.ts";
import { RemoteCluster } from "./remote-cluster.ts";
import { compareMachines, describeRunning } from "./running-cluster.ts";

/** Where a plan's or simulation's cluster comes from. */
export interface PlacementSources {
  readonly model: string;
  /** `cluster.yaml`. */
  readonly cluster?: string;
  /** host:port of a running coordinator. */
  readonly coordinator?: string;
  /** Of a coordinator in this process, instead. */
  readonly status?: StatusDocument;
  /** `NODE=FILE`, or `FILE` for all nodes without one of their own; a folder stands for the profile.json in it. */
  readonly profiles: readonly string[];
  /** Refuse profiles of something else instead of noting it. */
  readonly strict: boolean;
  /** Changes the cluster before its nodes get their costs. */
  readonly change?: (cluster: Cluster) => Cluster;
}

export interface Placement {
  readonly model: PlacementModel;
  readonly cluster: Cluster;
  readonly nodes: readonly PlacementNode[];
  readonly notes: readonly string[];
  /** Of the running cluster, where it was asked. */
  readonly status: StatusDocument | null;
}

/** More is no cluster; the reader's own limit is the same. */
const CLUSTER_BYTES_MAX = 2 ** 20;

/** Reads model, cluster and profiles. @throws NoodleError of what can't be read, and as `resolveNodes` */
export async function readPlacement(
  sources: PlacementSources,
  { signal, host }: Pick<CommandContext, "signal" | "host">,
): Promise<Placement> {
  const { cluster: path, coordinator } = sources;
  if (path === undefined && coordinator === undefined && sources.status === undefined) {
    throw new NoodleError("USAGE", "give --cluster FILE (docs/cluster.md describes it) or --coordinator HOST:PORT");
  }
  const header = await readModelHeader(sources.model);
  const model = describePlacementModel(header.header, {
    path: sources.model,
    bytes: header.fileBytes,
    headerSha256: header.headerSha256,
  });
  const written = path === undefined ? null : await readClusterFile(path);
  const asked =
    coordinator === undefined ? null : await askCoordinator(coordinator, signal, readOperatorSecurity(host.env));
  const status = sources.status ?? asked;
  const running = status === null ? null : describeRunning(status, written);
  const found = running?.cluster ?? written;
  if (found === null) throw new NoodleError("INTERNAL", "a plan without a cluster");
  const cluster = sources.change?.(found) ?? found;
  const base = path === undefined ? process.cwd() : dirname(resolve(path));
  const byPath = new Map<string, ProfileDocument>();
  // Also of nodes that a change takes away: what they tell of machines stays true.
  for (const each of new Set([...listProfilePaths(found), ...listProfilePaths(cluster)]))
    byPath.set(each, await readProfileAt(resolve(base, each)));
  const byNode = await readNodeProfiles(sources.profiles, cluster);
  const before = listProfilePaths(found).flatMap((each) => byPath.get(each) ?? []);
  const calibrating = [...byNode.values(), ...before];
  const profiles = { byPath, byNode, ...(calibrating.length === 0 ? {} : { calibrating }) };
  const { nodes, notes } = resolveNodes(cluster, profiles, model, { strict: sources.strict });
  const machineNotes = status === null ? [] : compareMachines(status, cluster, { byPath, byNode }, sources.strict);
  return { model, cluster, nodes, notes: [...(running?.notes ?? []), ...notes, ...machineNotes], status };
}

/** @throws NoodleError `FILE_NOT_FOUND`, `CLUSTER_INVALID` */
export async function readClusterFile(path: string): Promise<Cluster> {
  const facts = await stat(path).catch(() => null);
  if (facts === null || !facts.isFile()) throw new NoodleError("FILE_NOT_FOUND", `there is no cluster file ${path}`);
  if (facts.size > CLUSTER_BYTES_MAX) {
    throw new NoodleError("CLUSTER_INVALID", `${path} has ${facts.size} bytes; the limit is ${CLUSTER_BYTES_MAX}`);
  }
  return readCluster(await readFile(path, "utf8"), path);
}

async function readProfileAt(path: string): Promise<ProfileDocument> {
  const facts = await stat(path).catch(() => null);
  return readProfileFile(facts?.isDirectory() === true ? join(path, "profile.json") : path);
}

async function readNodeProfiles(
  texts: readonly string[],
  cluster: Cluster,
): Promise<ReadonlyMap<string, ProfileDocument>> {
  const byNode = new Map<string, ProfileDocument>();
  let common: ProfileDocument | null = null;
  for (const text of texts) {
    const at = text.indexOf("=");
    const name = text.slice(0, at);
    if (at <= 0) {
      if (common !== null) throw new NoodleError("USAGE", `--profile ${text}: one file without NODE= is enough`);
      common = await readProfileAt(text);
    } else if (byNode.has(name)) {
      throw new NoodleError("USAGE", `--profile ${name}=... is given twice`);
    } else byNode.set(name, await readProfileAt(text.slice(at + 1)));
  }
  if (common === null) return byNode;
  const bare = cluster.nodes.filter((node) => node.costs.type === "none" && !byNode.has(node.name));
  return new Map([...byNode, ...bare.map((node): [string, ProfileDocument] => [node.name, common])]);
}

async function askCoordinator(
  text: string,
  signal: AbortSignal,
  security: ClientSecurity | undefined,
): Promise<StatusDocument> {
  const remote = new RemoteCluster(formatHostPort(parseHostPort(text, "--coordinator")), security);
  try {
    return await remote.status(signal);
  } finally {
    remote.close();
  }
}
