import type { ArchitectureSpec } from "./types.ts";
import { attention, gatedMlp, norm } from "./weights.ts";

/** Norms behind attention and feed-forward instead of before them. With a sliding window: OLMo 3. */
export const olmo2: ArchitectureSpec = {
  name: "olmo2",
  norm: "rms",
  output: "required",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "tied",
  groupedHeads: true,
  experts: "never",
  sliding: { defaultPeriod: 4 },
  headStage: "llama",
  blockTensors: (shape) => [
    ...attention(shape),
    norm("attn_q_norm", shape.embd),
    norm("attn_k_norm", shape.kvHeads * shape.headSize),
    norm("post_attention_norm", shape.embd),
    ...gatedMlp(shape),
    norm("post_ffw_norm", shape.embd),
  ],
};
