import type { Instance } from "../instance.ts";
import { type Baseline, countCapacity, meanUnitMs } from "./baseline.ts";

/** What a hop costs beside its round trip, in Petals' own reckoning. */
const HOP_PENALTY_MS = 18;

/** Units that are sorted in windows: more takes minutes. */
const WORK_MAX = 5e7;

interface Host {
  readonly node: number;
  readonly first: number;
  readonly end: number;
}

/** Petals: each server that joins takes the span that is served worst; a request takes the quickest way through spans. */
export const petals: Baseline = {
  name: "petals",
  rule: "each node in turn takes the span with the least throughput, then the quickest route (Petals)",
  plan: (instance) => {
    if (instance.nodes.length * instance.units ** 2 > WORK_MAX)
      return { reason: "has too many nodes and units for it" };
    const hosts = placeHosts(instance);
    const route = findRoute(instance, hosts);
    if (route === null) return { reason: "its spans leave units without a node" };
    let at = 0;
    const draft = route.map(({ node, end }) => {
      const first = at;
      at = end;
      return { nodes: [node], first, end, pipeline: 0 };
    });
    return { draft };
  },
};

function placeHosts(instance: Instance): Host[] {
  const throughputs = new Array<number>(instance.units).fill(0);
  const hosts: Host[] = [];
  for (const node of instance.nodes.keys()) {
    const count = countCapacity(instance, node);
    if (count === 0) continue;
    const forward = 1 / meanUnitMs(instance, node);
    const network = 1 / meanOccupyMs(instance, node);
    const throughput = Math.min(forward / ((count + 1) / 2), network);
    const first = findWorstSpan(throughputs, count);
    for (let unit = first; unit < first + count; unit++) throughputs[unit] = (throughputs[unit] ?? 0) + throughput;
    hosts.push({ node, first, end: first + count });
  }
  return hosts;
}

/** Start of the window whose sorted throughputs come first in the order of words. */
function findWorstSpan(throughputs: readonly number[], count: number): number {
  let best: { first: number; sorted: readonly number[] } | null = null;
  for (let first = 0; first + count <= throughputs.length; first++) {
    const sorted = throughputs.slice(first, first + count).sort((a, b) => a - b);
    if (best === null || isBefore(sorted, best.sorted)) best = { first, sorted };
  }
  return best?.first ?? 0;
}

function isBefore(a: readonly number[], b: readonly number[]): boolean {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0;
    if (value !== other) return value < other;
  }
  return false;
}

/** The quickest sequence of servers, each used to the end of its span. */
function findRoute(instance: Instance, hosts: readonly Host[]): readonly Host[] | null {
  const byEnd = [...hosts].sort((a, b) => a.end - b.end || a.node - b.node);
  const ways: { host: Host; ms: number; before: number }[] = [];
  for (const host of byEnd) {
    let best = { ms: host.first === 0 ? spanMs(instance, host, 0) : Number.POSITIVE_INFINITY, before: -1 };
    for (const [index, way] of ways.entries()) {
      if (way.host.end < host.first || way.host.end >= host.end) continue;
      const hopMs = instance.hopMs(way.host.node, host.node) + HOP_PENALTY_MS;
      const ms = way.ms + hopMs + spanMs(instance, host, way.host.end);
      if (ms < best.ms) best = { ms, before: index };
    }
    ways.push({ host, ...best });
  }
  let at = -1;
  for (const [index, way] of ways.entries()) {
    if (way.host.end !== instance.units || way.ms === Number.POSITIVE_INFINITY) continue;
    if (at === -1 || way.ms < (ways[at]?.ms ?? 0)) at = index;
  }
  if (at === -1) return null;
  const route: Host[] = [];
  for (let way = ways[at]; way !== undefined; way = ways[way.before]) route.unshift(way.host);
  return route;
}

function spanMs(instance: Instance, host: Host, first: number): number {
  return meanUnitMs(instance, host.node) * (host.end - first);
}

function meanOccupyMs(instance: Instance, node: number): number {
  const others = [...instance.nodes.keys()].filter((other) => other !== node);
  if (instance.uniformLinks || others.length === 0) return instance.occupyMs(0, 1);
  return others.reduce((sum, other) => sum + instance.occupyMs(node, other), 0) / others.length;
}
