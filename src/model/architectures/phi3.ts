import { float32 } from "./metadata-values.ts";
import type { ArchitectureSpec } from "./types.ts";
import { matrix, norm } from "./weights.ts";

/** The engine ignores the sliding window of this architecture. Long-context models bring two tables of rotary factors. */
export const phi3: ArchitectureSpec = {
  name: "phi3",
  norm: "rms",
  output: "optional",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "tied",
  groupedHeads: true,
  experts: "never",
  headStage: "llama",
  blockTensors: ({ embd, kvHeads, headSize, ff }) => [
    norm("attn_norm", embd),
    matrix("attn_qkv", embd, embd + 2 * kvHeads * headSize),
    matrix("attn_output", embd, embd),
    norm("ffn_norm", embd),
    matrix("ffn_up", embd, 2 * ff),
    matrix("ffn_down", ff, embd),
  ],
  sharedTensors: ({ headSize }) => [
    { name: "rope_factors_long.weight", dims: [headSize / 2], kind: "factors" },
    { name: "rope_factors_short.weight", dims: [headSize / 2], kind: "factors" },
  ],
  dummyMetadata: () => new Map([["rope.scaling.attn_factor", float32(1.19)]]),
};
