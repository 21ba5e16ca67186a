import type { Cluster, Link } from "./cluster-types.ts";

/** How long `bytes` are on their way over a link that is free. */
export function hopMs(link: Link, bytes: number): number {
  return link.latencyMs + bytes / link.bytesPerMs;
}

const tables = new WeakMap<Cluster, ReadonlyMap<string, Link>>();

/** The link from one node to another: its own, or the default. Between a node and itself there is none: it is free. */
export function findLink(cluster: Cluster, from: string, to: string): Link {
  if (from === to) return FREE_LINK;
  let table = tables.get(cluster);
  if (table === undefined) {
    table = new Map(cluster.links.pairs.map((pair) => [`${pair.from} ${pair.to}`, pair.link]));
    tables.set(cluster, table);
  }
  return table.get(`${from} ${to}`) ?? cluster.links.default;
}

/** 10^15 bytes in a millisecond: what nothing real is held up by. */
export const FREE_LINK: Link = { latencyMs: 0, bytesPerMs: 1e15, jitterMs: 0, lossRatio: 0, lossBurstMs: 0 };
