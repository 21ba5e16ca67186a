import type { ArchitectureSpec } from "./types.ts";
import { attention, attentionBiases, gatedMlp, norm } from "./weights.ts";

export const seedOss: ArchitectureSpec = {
  name: "seed_oss",
  norm: "rms",
  output: "optional",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "free",
  groupedHeads: true,
  experts: "never",
  headStage: "llama",
  blockTensors: (shape) => [
    norm("attn_norm", shape.embd),
    ...attention(shape),
    ...attentionBiases(shape),
    norm("post_attention_norm", shape.embd),
    ...gatedMlp(shape),
  ],
};
