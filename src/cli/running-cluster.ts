import type { StatusDocument } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import type { Cluster, ClusterNode, ClusterProfiles, Link } from "../placement/index.ts";
import { checkProfileFor } from "../profile/index.ts";

/** The name that stands for the coordinator's machine in the links. */
const COORDINATOR = "coordinator";
/** What is taken for links whose bandwidth nobody measured. */
const NEAR_BYTES_PER_MS = 1.25e6;
const FAR_BYTES_PER_MS = 125_000;

/** A running cluster as a file would describe it: its links from round trips to the coordinator, or from the file. */
export function describeRunning(
  status: StatusDocument,
  file: Cluster | null,
): { readonly cluster: Cluster; readonly notes: readonly string[] } {
  const counts = new Map<string, number>();
  for (const { name } of status.nodes) counts.set(name, (counts.get(name) ?? 0) + 1);
  const named = status.nodes.map((node) => ({ node, name: (counts.get(node.name) ?? 0) > 1 ? node.id : node.name }));
  const nodes = named.map(({ node, name }): ClusterNode => {
    const written = file?.nodes.find((candidate) => candidate.name === name);
    return {
      name,
      kind: "real",
      address: node.address,
      memoryBytes: readMemory(node, status),
      overheadMs: written?.overheadMs ?? 0,
      costs: written?.costs ?? { type: "none" },
    };
  });
  if (nodes.length === 0) throw new NoodleError("CLUSTER_NOT_READY", "no worker has joined the coordinator");
  if (file !== null) {
    const known = new Set(nodes.map((node) => node.name));
    const coordinator = file.coordinator !== null && known.has(file.coordinator) ? file.coordinator : null;
    return { cluster: { ...file, coordinator, nodes }, notes: noteShared(nodes) };
  }
  const isNear = status.nodes.every((node) => /^(127\.|\[?::1\]?|localhost)/.test(node.address));
  const bytesPerMs = isNear ? NEAR_BYTES_PER_MS : FAR_BYTES_PER_MS;
  const linkOf = (latencyMs: number): Link => ({ latencyMs, bytesPerMs, jitterMs: 0, lossRatio: 0, lossBurstMs: 0 });
  const wayMs = new Map(named.map(({ node, name }) => [name, (node.rtt_ms ?? 0) / 2]));
  const way = (name: string): number => wayMs.get(name) ?? 0;
  const pairs = nodes.flatMap((from) => [
    { from: COORDINATOR, to: from.name, link: linkOf(way(from.name)) },
    { from: from.name, to: COORDINATOR, link: linkOf(way(from.name)) },
    ...nodes
      .filter((to) => to.name !== from.name)
      .map((to) => ({ from: from.name, to: to.name, link: linkOf(Math.max(way(from.name), way(to.name))) })),
  ]);
  return {
    cluster: {
      name: null,
      coordinator: COORDINATOR,
      nodes,
      links: { default: linkOf(Math.max(0, ...wayMs.values())), pairs },
      slowdowns: [],
      failures: [],
    },
    notes: [
      ...noteShared(nodes),
      `latencies are from round trips to the coordinator; bandwidths were not measured, ${isNear ? "10 Gbit/s" : "1 Gbit/s"} is assumed (links: of a --cluster file say better)`,
    ],
  };
}

/** Nodes of one machine take from each other what their profiles, made alone, gave to each. */
function noteShared(nodes: readonly ClusterNode[]): string[] {
  const byHost = new Map<string, string[]>();
  for (const { name, address } of nodes) {
    const host = (address ?? name).replace(/:\d+$/, "");
    byHost.set(host, [...(byHost.get(host) ?? []), name]);
  }
  return [...byHost]
    .filter(([, names]) => names.length > 1)
    .map(
      ([host, names]) =>
        `${names.slice(0, 8).join(", ")} run on one machine, ${host}: they share its cores and its memory, so predictions do not hold while they compute at once`,
    );
}

/** `--memory` of the worker, or what is free once its present stage is gone. */
function readMemory(node: StatusDocument["nodes"][number], status: StatusDocument): number | null {
  const limit = node.capabilities["memory_limit_bytes"];
  if (typeof limit === "number" && limit > 0) return limit;
  const free = node.capabilities["memory_free_bytes"];
  if (typeof free !== "number" || free <= 0) return null;
  const held = status.stages.find((stage) => stage.node === node.id);
  return free + (held === undefined ? 0 : held.weights_bytes + held.kv_bytes + held.compute_bytes);
}

/** What the machines say of themselves against what their profiles say. @throws NoodleError `PROFILE_MISMATCH` if strict */
export function compareMachines(
  status: StatusDocument,
  cluster: Cluster,
  profiles: ClusterProfiles,
  strict: boolean,
): string[] {
  return status.nodes.flatMap((node) => {
    const found = cluster.nodes.find((candidate) => candidate.name === node.name || candidate.name === node.id);
    if (found === undefined) return [];
    const { costs } = found;
    const profile =
      profiles.byNode.get(found.name) ?? (costs.type === "profile" ? profiles.byPath.get(costs.profile) : undefined);
    if (profile === undefined) return [];
    const text = (key: string): string | undefined => {
      const value = node.capabilities[key];
      return typeof value === "string" && value !== "" ? value : undefined;
    };
    const figure = (key: string): number | undefined => {
      const value = node.capabilities[key];
      return typeof value === "number" && value > 0 ? value : undefined;
    };
    const use = {
      cpuModel: text("cpu_model"),
      cores: figure("cores"),
      memoryTotalBytes: figure("memory_total_bytes"),
      engineBuild: text("engine_build"),
      engineVariant: text("cpu_variant"),
      threads: status.coordinator.threads > 0 ? status.coordinator.threads : figure("threads"),
    };
    const differences = checkProfileFor(
      profile,
      Object.fromEntries(Object.entries(use).filter(([, value]) => value !== undefined)),
    );
    if (differences.length === 0) return [];
    const words = `the profile of ${found.name} is of another machine or setting: ${differences.join("; ")}`;
    if (strict) throw new NoodleError("PROFILE_MISMATCH", `${words}; leave --strict out to use it all the same`);
    return [words];
  });
}
