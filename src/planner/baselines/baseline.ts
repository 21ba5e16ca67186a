import type { Draft } from "../draft.ts";
import type { Instance } from "../instance.ts";

/** What a rule of another system makes of a problem: a plan, good or bad, or why the rule does not apply. */
export type BaselineResult = { readonly draft: Draft } | { readonly reason: string };

/** A published rule, written down anew for the abstract problem. */
export interface Baseline {
  readonly name: string;
  /** What it does, in a line. */
  readonly rule: string;
  plan(instance: Instance): BaselineResult;
}

/** Memory of every node. Null when one of them has no limit: rules that share by memory need all of them. */
export function listMemories(instance: Instance): number[] | null {
  const memories = instance.nodes.map((node) => node.memoryBytes);
  return memories.every((bytes) => Number.isFinite(bytes) && bytes > 0) ? memories : null;
}

export const NEEDS_MEMORY: BaselineResult = { reason: "needs memory_bytes above 0 on every node" };

/** A plan from numbers of units in the order given; nodes without units are left out. */
export function draftCounts(shares: readonly { readonly node: number; readonly count: number }[]): BaselineResult {
  let at = 0;
  const draft = shares
    .filter(({ count }) => count > 0)
    .map(({ node, count }) => {
      const first = at;
      at += count;
      return { nodes: [node], first, end: at, pipeline: 0 };
    });
  return draft.length === 0 ? { reason: "gives no node any unit" } : { draft };
}

/** Bytes of the weights of all units, tied ones once: what rules that know no cache take for the model's size. */
export function countWeights({ problem }: Instance): number {
  const bytes = problem.unit_bytes ?? [];
  const tied = (problem.tied_units ?? []).reduce((saved, group) => {
    const weights = group.map((unit) => bytes[unit] ?? 0);
    return saved + weights.reduce((a, b) => a + b, 0) - Math.max(...weights);
  }, 0);
  return bytes.reduce((a, b) => a + b, 0) - tied;
}

/** Time of one unit on a node, on average over the model; of a table, over its best entry. */
export function meanUnitMs(instance: Instance, index: number): number {
  const { prefixMs, tableMs } = instance.node(index);
  if (prefixMs !== null) return (prefixMs[instance.units] as number) / instance.units;
  return (tableMs ?? new Float64Array(0)).reduce(
    (least, ms, count) => (count > 0 ? Math.min(least, ms / count) : least),
    Number.POSITIVE_INFINITY,
  );
}

/** How many units of average size a node holds, KV included. */
export function countCapacity(instance: Instance, index: number): number {
  const unitBytes = instance.stageBytes(0, instance.units) / instance.units;
  const { memoryBytes } = instance.node(index);
  if (unitBytes === 0 || memoryBytes === Number.POSITIVE_INFINITY) return instance.units;
  return Math.min(instance.units, Math.floor(memoryBytes / unitBytes));
}

/** Rounds shares down and gives what is left to the largest remainders, none above its limit. */
export function roundShares(shares: readonly number[], total: number, limits: readonly number[]): number[] {
  const counts = shares.map((share, index) => Math.min(Math.floor(share + 1e-9), limits[index] ?? 0));
  let left = total - counts.reduce((a, b) => a + b, 0);
  const order = [...shares.keys()].sort((a, b) => remainder(shares[b] ?? 0) - remainder(shares[a] ?? 0) || a - b);
  while (left > 0) {
    const before = left;
    for (const index of order) {
      if (left === 0) break;
      if ((counts[index] ?? 0) >= (limits[index] ?? 0)) continue;
      counts[index] = (counts[index] ?? 0) + 1;
      left -= 1;
    }
    if (left === before) break;
  }
  return counts;
}

function remainder(share: number): number {
  return share + 1e-9 - Math.floor(share + 1e-9);
}
