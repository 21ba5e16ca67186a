import type { Slowdown } from "../placement/index.ts";
import { makeCluster, makeLink, makeModel, makeNode, makeProfile } from "../placement/testing.ts";
import type { LoopCosts } from "./types.ts";

const SHAPE = { like: "llama-1b", layers: 12, vocab: 8192 } as const;

/** Three machines, the second twice and the third three times as slow as the first, on a good network. */
export function makeCosts(more: Partial<LoopCosts["workload"]> = {}, link = makeLink(0.3, 12_500)): LoopCosts {
  const profile = makeProfile(SHAPE);
  const nodes = [
    makeNode("a", profile, { memoryBytes: 2 ** 34 }),
    makeNode("b", profile, { slower: 2, memoryBytes: 2 ** 34 }),
    makeNode("c", profile, { slower: 3, memoryBytes: 2 ** 34 }),
  ];
  return {
    model: makeModel(SHAPE),
    cluster: makeCluster(nodes, link),
    nodes,
    objective: "throughput",
    workload: { streams: 6, contextTokens: 512, meanContextTokens: 96, promptTokens: 32, ...more },
  };
}

export function slowNode(
  node: string,
  factor: number,
  fromS: number,
  untilS: number | null = null,
  everyS: number | null = null,
): Slowdown {
  return { target: { type: "node", node }, factor, fromS, untilS, everyS };
}

export function slowLink(from: string, to: string, factor: number, fromS: number): Slowdown {
  return { target: { type: "link", from, to }, factor, fromS, untilS: null, everyS: null };
}
