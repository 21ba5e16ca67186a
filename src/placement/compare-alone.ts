import { countStageMemory } from "./memory.ts";
import type { ModelPlanAlone, ModelPlanLeftOut, PlacementObjective } from "./plan-types.ts";
import { sayNumber } from "./quantities.ts";
import type { Setup } from "./setup.ts";
import { valueBest } from "./value.ts";

/** Every node with the whole model on it, the best first. */
export function compareAlone(setup: Setup): ModelPlanAlone[] {
  const range = { first: 0, end: setup.model.description.units.length };
  const { weightsBytes, kvBytes, reserveBytes } = countStageMemory(setup.model, setup.workload, range);
  const needed = weightsBytes + kvBytes + reserveBytes;
  return setup.nodes
    .map((node): ModelPlanAlone => {
      const value = valueBest(setup, [{ nodes: [node.name], first: 0, end: setup.bounds.length - 1 }]);
      const short = node.memoryBytes === null ? 0 : Math.max(0, needed - node.memoryBytes);
      return {
        node: node.name,
        fits: value !== null,
        short_bytes: value === null ? Math.max(1, short) : 0,
        tokens_per_s: value?.tokensPerS ?? null,
        itl_ms: value?.itlMs ?? null,
      };
    })
    .sort((a, b) => (b.tokens_per_s ?? -1) - (a.tokens_per_s ?? -1));
}

/** Why nodes are not used. */
export function explainLeftOut(
  setup: Setup,
  objective: PlacementObjective,
  used: ReadonlySet<string>,
  rows: number,
): ModelPlanLeftOut[] {
  const problem = setup.problem(rows);
  const totalOf = (name: string): number => {
    const node = problem.nodes.find((candidate) => candidate.id === name);
    return (node?.unit_ms ?? []).reduce((a, b) => a + b, node?.overhead_ms ?? 0);
  };
  const quickest = Math.min(...[...used].map(totalOf));
  const least = Math.min(
    ...(problem.unit_bytes ?? []).map((bytes, unit) => bytes + (problem.kv_bytes_per_token?.[unit] ?? 0)),
  );
  return problem.nodes
    .filter((node) => !used.has(node.id))
    .map((node) => {
      if (node.memory_bytes !== undefined && node.memory_bytes < least) {
        return { node: node.id, words: "its memory holds no unit of the model" };
      }
      if (objective === "fewest_nodes") return { node: node.id, words: "fewer nodes were asked for" };
      const ratio = totalOf(node.id) / quickest;
      const speed =
        ratio > 1.05
          ? `it takes ${sayNumber(ratio)} times as long as the quickest`
          : "it is quick enough, but what its memory holds is not worth the hops to it";
      return { node: node.id, words: `no plan that was found is better with it; ${speed}` };
    });
}
