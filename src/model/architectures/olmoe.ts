import type { ArchitectureSpec } from "./types.ts";
import { llamaBlock, norm } from "./weights.ts";

/** Norms of queries and keys over all heads at once, both as wide as the hidden state. */
export const olmoe: ArchitectureSpec = {
  name: "olmoe",
  norm: "rms",
  output: "required",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "tied",
  groupedHeads: false,
  experts: "always",
  headStage: "llama",
  blockTensors: (shape) => [...llamaBlock(shape), norm("attn_q_norm", shape.embd), norm("attn_k_norm", shape.embd)],
};
