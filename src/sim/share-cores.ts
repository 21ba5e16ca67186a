import type { SimulationDocument } from "./document.ts";
import { simulate } from "./simulate.ts";
import type { SimulationOptions } from "./simulation.ts";
import { COORDINATOR, type SimCluster, type Workload } from "./types.ts";

/** Nodes of a simulation that are processes of one machine. */
export interface SharedCores {
  /** Of the machine. */
  readonly cores: number;
  /** Of each node while it computes. */
  readonly threads: number;
}

export interface SharedSimulation {
  readonly document: SimulationDocument;
  /** By node: how many times as long its calls take as with cores of its own, on average. */
  readonly factors: ReadonlyMap<string, number>;
}

/** The factors hardly change after so many. */
const ROUNDS = 5;

/**
 * Simulates nodes, and a coordinator, that share the cores of one machine. What a call takes then depends on how many
 * others work at the same time; how often they do is what the simulation says, so that it is repeated with the factors of
 * the round before. A hop between processes of one machine is work for a core too, and is drawn out with its receiver.
 * Times that are due to shared memory bandwidth or caches are not in it.
 */
export function simulateSharing(
  cluster: SimCluster,
  workload: Workload,
  { cores, threads }: SharedCores,
  options: SimulationOptions = {},
): SharedSimulation {
  const names = [...cluster.nodes.map(({ id }) => id), COORDINATOR];
  let factors: ReadonlyMap<string, number> = new Map(names.map((name) => [name, 1]));
  let shared = cluster;
  let document = simulate(cluster, workload, options);
  if (cluster.nodes.length * threads <= cores) return { document, factors };
  for (let round = 0; round < ROUNDS; round++) {
    const busy = measureBusy(document, shared);
    factors = new Map(
      names.map((name) => {
        const others = [...busy].filter(([other]) => other !== name).map(([, ratio]) => ratio);
        return [name, expectFactor(others, threads, cores)];
      }),
    );
    shared = slowDown(cluster, factors);
    document = simulate(shared, workload, options);
  }
  return { document, factors };
}

function slowDown(cluster: SimCluster, factors: ReadonlyMap<string, number>): SimCluster {
  return {
    ...cluster,
    nodes: cluster.nodes.map((node) => ({ ...node, slowdowns: [{ atMs: 0, factor: factors.get(node.id) ?? 1 }] })),
    links: cluster.links.map((link) => ({ ...link, latencyMs: link.latencyMs * (factors.get(link.to) ?? 1) })),
  };
}

/** Shares of the time in which each computes, or takes in what comes. */
function measureBusy({ stages, links, simulated_ms: spanMs }: SimulationDocument, cluster: SimCluster) {
  const busy = new Map<string, number>();
  const add = (name: string, ratio: number): void => {
    busy.set(name, Math.min(1, (busy.get(name) ?? 0) + ratio));
  };
  for (const { node, busy_ratio } of stages) add(node, busy_ratio);
  for (const { from, to, messages } of links) {
    const link = cluster.links.find((one) => one.from === from && one.to === to);
    if (link !== undefined && spanMs > 0) add(to, (messages * link.latencyMs) / spanMs);
  }
  return busy;
}

/**
 * Mean of max(1, threads that want a core / cores), where each of the others computes with its own probability.
 *
 * @param others shares of the time in which each of them computes
 */
export function expectFactor(others: readonly number[], threads: number, cores: number): number {
  // chances[k]: that k of those looked at so far compute.
  let chances = [1];
  for (const ratio of others) {
    chances = Array.from(
      { length: chances.length + 1 },
      (_, k) => (chances[k] ?? 0) * (1 - ratio) + (chances[k - 1] ?? 0) * ratio,
    );
  }
  return chances.reduce((sum, chance, k) => sum + chance * Math.max(1, ((k + 1) * threads) / cores), 0);
}
