import { planProblem, type Remedy } from "../planner/index.ts";
import { sayBytes } from "../profile/index.ts";
import { countStageMemory } from "./memory.ts";
import type { PlanModelOptions } from "./plan-types.ts";
import type { Setup } from "./setup.ts";

export interface NoPlan {
  readonly words: string;
  readonly remedies: readonly string[];
}

/** What is short, and what each of several changes alone would have to be: from the planner's own search for it. */
export async function explainNone(setup: Setup, timeLimitS: number, options: PlanModelOptions): Promise<NoPlan> {
  const { workload, model, nodes } = setup;
  const problem = setup.problem(1);
  const tokens = workload.contextTokens;
  const answer = await planProblem(
    {
      ...problem,
      kv_bytes_per_token: (problem.kv_bytes_per_token ?? []).map((bytes) => bytes / tokens),
      cache_tokens: tokens,
      time_limit_s: timeLimitS,
    },
    { ...options, alternatives: false },
  );
  const because = answer.infeasible_because;
  if (because === undefined) {
    return { words: "every plan that fits has a stage that would change the model's result", remedies: [] };
  }
  if (because.resource !== "memory")
    return { words: because.words, remedies: because.remedies.map(({ words }) => words) };
  const range = { first: 0, end: model.description.units.length };
  const { weightsBytes, kvBytes, reserveBytes } = countStageMemory(model, workload, range);
  const have = nodes.reduce((sum, node) => sum + (node.memoryBytes ?? 0), 0);
  const streams = workload.streams === 1 ? "one stream" : `${workload.streams} streams`;
  const words = `memory: ${sayBytes(weightsBytes)} of weights, ${sayBytes(kvBytes)} of KV for ${streams} of ${tokens} tokens, and ${sayBytes(reserveBytes)} of buffers on each machine do not fit the ${sayBytes(have)} of ${nodes.length === 1 ? "one node" : `${nodes.length} nodes`}`;
  return { words, remedies: because.remedies.map((remedy) => sayRemedy(setup, remedy)) };
}

function sayRemedy(setup: Setup, { field, node, from, to, words }: Remedy): string {
  if (field === "cache_tokens") return `--context ${to}`;
  if (field !== "memory_bytes" || node === null) return words;
  const { memoryBytes } = setup.node(node);
  // What a node lacks for its buffers alone, the problem does not know.
  const lacking = Math.max(0, setup.nodeReserveBytes - (memoryBytes ?? 0));
  return `${sayBytes(to - from + lacking)} more on ${node}`;
}
