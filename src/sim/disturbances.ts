import type { Slowdown as ClusterSlowdown } from "../placement/index.ts";
import type { LinkChange, Slowdown } from "./types.ts";

/** Of a disturbance that comes again and again, so many times are simulated. */
const MOST_TIMES = 10_000;

/** When a node becomes slower or faster, several slowdowns at once multiplied. */
export function listSlowdowns(all: readonly ClusterSlowdown[], of: { readonly node: string }): Slowdown[] {
  return listFactors(all.filter(({ target }) => target.type === "node" && target.node === of.node));
}

/** When a link becomes slower or faster: its latency and the time of each byte. */
export function listLinkChanges(
  all: readonly ClusterSlowdown[],
  of: { readonly from: string; readonly to: string },
  link: { readonly latencyMs: number; readonly bytesPerMs: number },
): LinkChange[] {
  const own = all.filter(({ target }) => target.type === "link" && target.from === of.from && target.to === of.to);
  return listFactors(own).map(({ atMs, factor }) => ({
    atMs,
    latencyMs: link.latencyMs * factor,
    bytesPerMs: link.bytesPerMs / factor,
  }));
}

function listFactors(slowdowns: readonly ClusterSlowdown[]): Slowdown[] {
  const edges = slowdowns.flatMap(({ factor, fromS, untilS, everyS }) => {
    const times = everyS === null || untilS === null ? 1 : MOST_TIMES;
    return Array.from({ length: times }, (_, i) => i * (everyS ?? 0)).flatMap((shiftS) => [
      { atMs: 1000 * (fromS + shiftS), by: factor, begins: true },
      ...(untilS === null ? [] : [{ atMs: 1000 * (untilS + shiftS), by: factor, begins: false }]),
    ]);
  });
  // Where one ends as the next begins, the end comes first.
  edges.sort((a, b) => a.atMs - b.atMs || Number(a.begins) - Number(b.begins));
  const active: number[] = [];
  const pieces: Slowdown[] = [];
  for (const { atMs, by, begins } of edges) {
    if (begins) active.push(by);
    else active.splice(active.indexOf(by), 1);
    const factor = active.reduce((product, each) => product * each, 1);
    if (pieces.at(-1)?.atMs === atMs) pieces.pop();
    pieces.push({ atMs, factor });
  }
  return pieces;
}
