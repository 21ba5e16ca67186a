import { NoodleError, sum } from "../common/index.ts";
import { cutInOrder, evaluatePlan, type StageRange } from "../planner/index.ts";
import { findLink } from "./links.ts";
import type { PlacementNode } from "./plan-types.ts";
import { type Found, makeLegal, type Tried } from "./search.ts";
import type { Setup } from "./setup.ts";
import { type PlacedValue, valueBest, valuePlan } from "./value.ts";
import { listBatchings } from "./workload.ts";

/** Orders of unlike nodes that are tried: all of seven. */
const MAX_ORDERS = 5040;
const SAME = 1e-9;

/**
 * The best plan in which every node serves a stage: all orders that differ, each with its cuts of least period, for all
 * ways of batching. Where the nodes are alike and their links too, every plan takes equally long for a round, and the
 * answer is exact.
 *
 * @throws NoodleError `USAGE` for so many unlike nodes that their orders cannot all be tried
 */
export function searchEvery(setup: Setup): Found {
  const orders = listOrders(setup);
  let best: PlacedValue | null = null;
  let stages: readonly StageRange[] | null = null;
  const bounds = listBatchings(setup.workload).map((batching) => {
    let leastPeriodMs = Number.POSITIVE_INFINITY;
    for (const order of orders) {
      const cut = cutInOrder(setup.problem(batching.rows), order);
      if (cut === null) continue;
      leastPeriodMs = Math.min(leastPeriodMs, evaluatePlan(setup.problem(batching.rows), cut).period_ms);
      for (const legal of makeLegal(setup, cut)) {
        const value = valueBest(setup, legal);
        if (value === null || value.tokensPerS <= (best?.tokensPerS ?? 0) * (1 + SAME)) continue;
        best = value;
        stages = legal.map(({ nodes, first, end }) => ({ nodes, first, end }));
      }
    }
    const roundMs = boundRoundMs(setup, batching.rows);
    const itlMs = Math.max(roundMs, batching.inFlight * leastPeriodMs);
    return { batching, mostTokensPerS: Number.isFinite(itlMs) ? (1000 * setup.workload.streams) / itlMs : 0 };
  });
  return conclude(setup, stages, best, bounds);
}

function conclude(
  setup: Setup,
  stages: readonly StageRange[] | null,
  best: PlacedValue | null,
  bounds: readonly Pick<Tried, "batching" | "mostTokensPerS">[],
): Found {
  const value = best?.tokensPerS ?? 0;
  const bound = Math.max(value, ...bounds.map((one) => one.mostTokensPerS));
  const tried = bounds.map((one): Tried => {
    const tokensPerS = stages === null ? null : valuePlan(setup, stages, one.batching).tokensPerS;
    return { ...one, tokensPerS, mostTokensPerS: Math.max(one.mostTokensPerS, tokensPerS ?? 0), solved: true };
  });
  return {
    stages,
    best,
    tried: tried.sort((a, b) => (b.tokensPerS ?? 0) - (a.tokensPerS ?? 0)),
    bound,
    value,
    proven: bound <= value * (1 + SAME),
    algorithm: "chains of every node",
    timeLimitHit: false,
    ...(stages === null ? { because: sayNone(setup) } : {}),
  };
}

function sayNone({ nodes, bounds }: Setup): { readonly words: string; readonly remedies: readonly string[] } {
  const groups = bounds.length - 1;
  if (nodes.length > groups) {
    const words = `the model can be cut into ${groups} stages at most; ${nodes.length} nodes are all to have one`;
    return { words, remedies: [`${groups} nodes`] };
  }
  return { words: "no cuts give every node a stage that fits its memory", remedies: ["leave out --every-node"] };
}

/** No plan of all nodes takes less for a round: each unit where it is quickest, each hop as the quickest one. */
function boundRoundMs(setup: Setup, rows: number): number {
  const { nodes, units } = setup.problem(rows);
  const quickest = Array.from({ length: units }, (_, unit) =>
    Math.min(...nodes.map((node) => node.unit_ms?.[unit] ?? 0)),
  );
  const overheadMs = sum(nodes.map((node) => node.overhead_ms ?? 0));
  const names = setup.nodes.map(({ name }) => name);
  const hopOf = (bytes: number): number =>
    Math.min(
      ...names.flatMap((from) =>
        names
          .filter((to) => to !== from)
          .map((to) => {
            const link = findLink(setup.cluster, from, to);
            return link.latencyMs + bytes / link.bytesPerMs;
          }),
      ),
    );
  const hops = names.length - 1;
  const hopMs = hops === 0 ? 0 : hops * hopOf(setup.activationBytes(rows));
  const backMs = hops === 0 || setup.cluster.coordinator !== null ? 0 : hopOf(setup.returnBytes(rows));
  const enterMs = Math.min(...names.map((name) => setup.enterMs(name, rows)));
  const leaveMs = Math.min(...names.map((name) => setup.leaveMs(name, rows)));
  return sum(quickest) + overheadMs + hopMs + backMs + enterMs + leaveMs;
}

/** Orders of the nodes that differ in more than the names of alike ones. @throws NoodleError `USAGE` */
function listOrders(setup: Setup): readonly (readonly string[])[] {
  const { nodes, cluster } = setup;
  const named = new Set(cluster.links.pairs.flatMap(({ from, to }) => [from, to]));
  // A node with a link of its own is like no other.
  const kindOf = (node: PlacementNode, index: number): string =>
    named.has(node.name) || cluster.coordinator === node.name
      ? `node ${index}`
      : `${nodes.findIndex(({ costs }) => costs === node.costs)} ${node.memoryBytes}`;
  const left = new Map<string, string[]>();
  for (const [index, node] of nodes.entries()) {
    const kind = kindOf(node, index);
    left.set(kind, [...(left.get(kind) ?? []), node.name]);
  }
  const orders: string[][] = [];
  const extend = (order: readonly string[]): void => {
    if (orders.length > MAX_ORDERS) return;
    if (order.length === nodes.length) orders.push([...order]);
    for (const names of left.values()) {
      const name = names.shift();
      if (name === undefined) continue;
      extend([...order, name]);
      names.unshift(name);
    }
  };
  extend([]);
  if (orders.length <= MAX_ORDERS) return orders;
  throw new NoodleError(
    "USAGE",
    `${nodes.length} nodes that are unlike have more than ${MAX_ORDERS} orders: every node can be asked for of up to 7`,
  );
}
