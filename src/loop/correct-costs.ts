import type { Cluster, LinkPair, PlacementNode } from "../placement/index.ts";
import { CostModel, type CostTable } from "../profile/index.ts";
import type { LoopCosts } from "./types.ts";

type Phase = "decode" | "prefill";

/** What a node's times are multiplied by. */
export interface NodeFactors {
  /** What each step costs by itself. */
  step(phase: Phase): number;
  /** Units of the class. */
  unit(phase: Phase, unitClass: string): number;
}

/** Costs with what was measured put in. @param factorsOf null for a node that was not seen yet */
export function correctCosts(
  costs: LoopCosts,
  factorsOf: (node: string) => NodeFactors | null,
  links: readonly LinkPair[],
): LoopCosts {
  const nodes = costs.nodes.map((node) => {
    const factors = factorsOf(node.name);
    return factors === null ? node : correctNode(node, factors);
  });
  return { ...costs, nodes, cluster: correctLinks(costs.cluster, links) };
}

function correctNode(node: PlacementNode, factors: NodeFactors): PlacementNode {
  const { document } = node.costs;
  return {
    ...node,
    costs: new CostModel({
      ...document,
      step_overhead_ms: {
        decode: document.step_overhead_ms.decode * factors.step("decode"),
        prefill: document.step_overhead_ms.prefill * factors.step("prefill"),
      },
      classes: document.classes.map((one) => ({
        ...one,
        decode: scaleTable(one.decode, factors.unit("decode", one.name)),
        prefill: scaleTable(one.prefill, factors.unit("prefill", one.name)),
      })),
    }),
  };
}

function scaleTable(table: CostTable, factor: number): CostTable {
  return { ...table, ms: table.ms.map((line) => line.map((ms) => (ms === null ? null : ms * factor))) };
}

function correctLinks(cluster: Cluster, measured: readonly LinkPair[]): Cluster {
  const key = ({ from, to }: LinkPair): string => JSON.stringify([from, to]);
  const known = new Set(measured.map(key));
  const pairs = [...cluster.links.pairs.filter((pair) => !known.has(key(pair))), ...measured];
  return { ...cluster, links: { ...cluster.links, pairs } };
}
