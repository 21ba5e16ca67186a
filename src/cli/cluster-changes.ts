import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { NoodleError } from "../common/index.ts";
import { type Cluster, type ClusterNode, findLink, readCluster } from "../placement/index.ts";
import { parseDecimal } from "./quantities.ts";

/** What `noodle whatif` changes. */
export interface ClusterChanges {
  /** Files with one node each, as in a cluster's file. */
  readonly add: readonly string[];
  readonly remove: readonly string[];
  /** `a,b=latency_ms:mbps`. */
  readonly link: readonly string[];
  /** `node=2x`. */
  readonly slow: readonly string[];
  readonly type?: string;
}

export interface LinkChange {
  readonly a: string;
  readonly b: string;
  readonly latencyMs: number;
  readonly bytesPerMs: number;
}

export interface NodeSlowdown {
  readonly node: string;
  readonly factor: number;
}

const BYTES_PER_MS_OF_MBPS = 125;

/** Reads `a,b=0.2:1000`. @throws USAGE */
export function parseLinkChange(text: string): LinkChange {
  const match = /^([^,=]+),([^,=]+)=([^:]+):(.+)$/.exec(text);
  const [, a, b, latency, mbps] = match ?? [];
  if (a === undefined || b === undefined || latency === undefined || mbps === undefined)
    throw new NoodleError("USAGE", `--link "${text}" is not of the form a,b=latency_ms:mbps`);
  return {
    a,
    b,
    latencyMs: parseDecimal(latency, "--link", 0, 1e6),
    bytesPerMs: BYTES_PER_MS_OF_MBPS * parseDecimal(mbps, "--link", 1e-3, 1e9),
  };
}

/** Reads `node=2x`. @throws USAGE */
export function parseSlowdown(text: string): NodeSlowdown {
  const match = /^(.+)=([\d.]+)x?$/.exec(text);
  if (match === null) throw new NoodleError("USAGE", `--slow "${text}" is not of the form node=2x`);
  return { node: match[1] ?? "", factor: parseDecimal(match[2] ?? "", "--slow", 1e-3, 1e6) };
}

/**
 * The change of a cluster, ready to be made.
 *
 * @throws NoodleError `USAGE` for words without sense, `CLUSTER_INVALID` for a node that can't be read
 */
export async function readClusterChange(changes: ClusterChanges): Promise<(cluster: Cluster) => Cluster> {
  const links = changes.link.map(parseLinkChange);
  const added = (await Promise.all(changes.add.map(readNodes))).flat();
  return (cluster) => {
    const kept = removeNodes(cluster, changes.remove);
    const nodes = [...kept.nodes, ...added];
    const twice = nodes.find(({ name }, index) => nodes.findIndex((other) => other.name === name) !== index);
    if (twice !== undefined) throw new NoodleError("CLUSTER_INVALID", `--add: there is a node "${twice.name}" already`);
    return changeLinks({ ...kept, nodes }, links);
  };
}

async function readNodes(path: string): Promise<readonly ClusterNode[]> {
  let written: unknown;
  try {
    written = parse(await readFile(path, "utf8"), { maxAliasCount: 16 });
  } catch (error) {
    throw NoodleError.from(error, "CLUSTER_INVALID");
  }
  const text = JSON.stringify({ schema: "noodle/v1", nodes: Array.isArray(written) ? written : [written] });
  const near = (file: string): string => resolve(dirname(path), file);
  return readCluster(text, path).nodes.map((node) => {
    const { costs } = node;
    if (costs.type === "profile") return { ...node, costs: { ...costs, profile: near(costs.profile) } };
    if (costs.type === "hardware") return { ...node, costs: { ...costs, calibratedBy: costs.calibratedBy.map(near) } };
    return node;
  });
}

function removeNodes(cluster: Cluster, names: readonly string[]): Cluster {
  for (const name of names) requireNode(cluster, name, "--remove");
  const gone = new Set(names);
  const isKept = (name: string): boolean => !gone.has(name);
  const nodes = cluster.nodes.filter(({ name }) => isKept(name));
  if (nodes.length === 0) throw new NoodleError("USAGE", "--remove leaves no node");
  return {
    ...cluster,
    nodes,
    coordinator: cluster.coordinator !== null && isKept(cluster.coordinator) ? cluster.coordinator : null,
    links: { ...cluster.links, pairs: cluster.links.pairs.filter(({ from, to }) => isKept(from) && isKept(to)) },
    slowdowns: cluster.slowdowns.filter(({ target }) =>
      target.type === "node" ? isKept(target.node) : isKept(target.from) && isKept(target.to),
    ),
    failures: cluster.failures.filter(({ node }) => isKept(node)),
  };
}

function changeLinks(cluster: Cluster, changes: readonly LinkChange[]): Cluster {
  let { pairs } = cluster.links;
  for (const { a, b, latencyMs, bytesPerMs } of changes) {
    for (const name of [a, b]) requireNode(cluster, name, "--link");
    const fresh = [
      { from: a, to: b },
      { from: b, to: a },
    ].map(({ from, to }) => ({ from, to, link: { ...findLink(cluster, from, to), latencyMs, bytesPerMs } }));
    const isOld = (pair: { readonly from: string; readonly to: string }): boolean =>
      fresh.some(({ from, to }) => from === pair.from && to === pair.to);
    pairs = [...pairs.filter((pair) => !isOld(pair)), ...fresh];
  }
  return { ...cluster, links: { ...cluster.links, pairs } };
}

function requireNode(cluster: Cluster, name: string, option: string): void {
  if (cluster.nodes.some((node) => node.name === name) || cluster.coordinator === name) return;
  const names = cluster.nodes.map((node) => node.name).slice(0, 16);
  throw new NoodleError("USAGE", `${option} ${name}: there is no node of that name; there are ${names.join(", ")}`);
}
