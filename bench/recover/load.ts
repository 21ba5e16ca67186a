import { must } from "../../src/common/index.ts";
import type { Wanted } from "../../test/faults/streams.ts";
import { makePrompt } from "../models.ts";

export type Kind = "greedy" | "sampled" | "grammar";

const KINDS: readonly Kind[] = ["greedy", "sampled", "grammar"];
const GRAMMAR = 'root ::= word (" " word)*\nword ::= [a-z]{2,9}';

/** Requests of a cell: kinds in turn, prompts unlike each other in length and in what they hold. */
export function makeLoad(
  count: number,
  sizes: { readonly promptTokens: number; readonly maxTokens: number; readonly vocab: number },
  first = 0,
): readonly Wanted[] {
  return Array.from({ length: count }, (_, index): Wanted => {
    const kind = must(KINDS[(first + index) % KINDS.length], "kind");
    const rows = Math.max(8, Math.round(sizes.promptTokens * (1 - 0.08 * index)));
    const prompt = [...makePrompt(rows, 13 * (first + index) + 1)].map((id) => 10 + (id % (sizes.vocab - 20)));
    const common = { prompt, maxTokens: sizes.maxTokens, ignoreEos: true, wantKvHashes: true };
    return { name: `${kind} ${index + 1}`, request: { ...common, ...sample(kind, 100 * first + index) } };
  });
}

function sample(kind: Kind, seed: number): Pick<Wanted["request"], "sampling"> {
  if (kind === "greedy") return {};
  const common = { topP: 0.95, minP: 0.02, repeatPenalty: 1.1, seed };
  if (kind === "sampled") return { sampling: { ...common, temperature: 0.9, topK: 40 } };
  return { sampling: { ...common, topP: 1, minP: 0, repeatPenalty: 1, temperature: 0.7, topK: 0, grammar: GRAMMAR } };
}
