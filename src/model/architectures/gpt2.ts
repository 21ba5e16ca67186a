import type { ArchitectureSpec } from "./types.ts";
import { bias, biasedNorm, matrix } from "./weights.ts";

/** The input of every stage gets a row of the position table added, so the table of later stages is zero. */
export const gpt2: ArchitectureSpec = {
  name: "gpt2",
  norm: "layer",
  output: "optional",
  outputNormBias: true,
  positionEmbedding: true,
  headWidth: "tied",
  groupedHeads: false,
  experts: "never",
  headStage: "own",
  blockTensors: ({ embd, kvHeads, headSize, ff }) => {
    const qkvWidth = embd + 2 * kvHeads * headSize;
    return [
      ...biasedNorm("attn_norm", embd),
      matrix("attn_qkv", embd, qkvWidth),
      bias("attn_qkv", qkvWidth),
      matrix("attn_output", embd, embd),
      bias("attn_output", embd),
      ...biasedNorm("ffn_norm", embd),
      matrix("ffn_up", embd, ff),
      bias("ffn_up", ff),
      matrix("ffn_down", ff, embd),
      bias("ffn_down", embd),
    ];
  },
};
