import type { GgufHeader } from "../gguf/index.ts";
import { readFacts, readLayerNumber } from "./facts.ts";

/** What decides which attention kernel computes a block. */
export interface AttentionShape {
  /** Width of one head's keys and values. */
  readonly headSize: number;
  /** Query heads for each head of keys and values. */
  readonly groupSize: number;
}

/** Of the first block. */
export function readAttentionShape(header: GgufHeader): AttentionShape {
  const facts = readFacts(header);
  const heads = readLayerNumber(facts, "attention.head_count", 0) ?? 1;
  const kvHeads = readLayerNumber(facts, "attention.head_count_kv", 0) ?? heads;
  return {
    headSize: readLayerNumber(facts, "attention.key_length", 0) ?? Math.floor(facts.embeddingLength / heads),
    groupSize: kvHeads === 0 ? 1 : Math.floor(heads / kvHeads),
  };
}
