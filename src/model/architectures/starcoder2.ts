import type { ArchitectureSpec } from "./types.ts";
import { attention, attentionBiases, bias, biasedNorm, matrix } from "./weights.ts";

/** The engine does not use the sliding window of this architecture. */
export const starcoder2: ArchitectureSpec = {
  name: "starcoder2",
  norm: "layer",
  output: "optional",
  outputNormBias: true,
  positionEmbedding: false,
  headWidth: "tied",
  groupedHeads: true,
  experts: "never",
  headStage: "own",
  blockTensors: (shape) => [
    ...biasedNorm("attn_norm", shape.embd),
    ...attention(shape),
    ...attentionBiases(shape),
    bias("attn_output", shape.embd),
    ...biasedNorm("ffn_norm", shape.embd),
    matrix("ffn_up", shape.embd, shape.ff),
    bias("ffn_up", shape.ff),
    matrix("ffn_down", shape.ff, shape.embd),
    bias("ffn_down", shape.embd),
  ],
};
