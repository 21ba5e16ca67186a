import type { Cluster } from "./cluster-types.ts";
import type { ModelPlanGrowth, PlacementNode, PlacementObjective, PlanModelOptions } from "./plan-types.ts";
import { searchPlan } from "./search.ts";
import { Setup } from "./setup.ts";

/** Kinds of nodes that are tried: those that the plan uses first. */
const KINDS_TRIED = 4;

/** What one more node like each of the cluster's would bring, the most first. */
export async function growPlan(
  setup: Setup,
  objective: PlacementObjective,
  old: { readonly value: number; readonly used: ReadonlySet<string> },
  timeLimitS: number,
  options: PlanModelOptions,
): Promise<ModelPlanGrowth[]> {
  const kinds = new Map<string, PlacementNode>();
  const costs = new Map<PlacementNode["costs"], number>();
  for (const node of [...setup.nodes].sort((a, b) => Number(old.used.has(b.name)) - Number(old.used.has(a.name)))) {
    if (!costs.has(node.costs)) costs.set(node.costs, costs.size);
    const key = `${costs.get(node.costs)} ${node.memoryBytes}`;
    if (!kinds.has(key)) kinds.set(key, node);
  }
  const grown: ModelPlanGrowth[] = [];
  for (const like of [...kinds.values()].slice(0, KINDS_TRIED)) {
    const twin = nameTwin(setup, like.name);
    const larger = new Setup(
      setup.model,
      addTwin(setup.cluster, like.name, twin),
      [...setup.nodes, { ...like, name: twin }],
      setup.workload,
    );
    const found = await searchPlan(larger, objective, { ...options, timeLimitS: timeLimitS / KINDS_TRIED });
    if (found.best === null || found.stages === null) continue;
    const isSmallerBetter = objective === "latency" || objective === "fewest_nodes";
    grown.push({
      like: like.name,
      tokens_per_s: found.best.tokensPerS,
      itl_ms: found.best.itlMs,
      nodes: found.stages.length,
      better_by: Math.max(1, isSmallerBetter ? old.value / found.value : found.value / old.value),
    });
  }
  return grown.sort((a, b) => b.better_by - a.better_by);
}

function nameTwin(setup: Setup, name: string): string {
  const taken = new Set(setup.nodes.map((node) => node.name));
  for (let number = 2; ; number++) if (!taken.has(`${name}+${number}`)) return `${name}+${number}`;
}

/** The links of the first are those of the second; between the two is the default. */
function addTwin(cluster: Cluster, name: string, twin: string): Cluster {
  const pairs = cluster.links.pairs.flatMap((pair) => {
    if (pair.from === name) return [pair, { ...pair, from: twin }];
    return pair.to === name ? [pair, { ...pair, to: twin }] : [pair];
  });
  return { ...cluster, links: { ...cluster.links, pairs } };
}
