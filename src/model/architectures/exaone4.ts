import type { ArchitectureSpec } from "./types.ts";
import { attention, gatedMlp, headNorms, norm } from "./weights.ts";

/** Norms behind attention and feed-forward. The sliding window of the 32B model is told by its 64 layers alone. */
export const exaone4: ArchitectureSpec = {
  name: "exaone4",
  norm: "rms",
  output: "optional",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "tied",
  groupedHeads: true,
  experts: "never",
  headStage: "llama",
  pinnedBlockCount: { count: 64, what: "sliding window" },
  blockTensors: (shape) => [
    ...attention(shape),
    ...headNorms(shape),
    norm("post_attention_norm", shape.embd),
    ...gatedMlp(shape),
    norm("post_ffw_norm", shape.embd),
  ],
  sharedTensors: ({ headSize }) => [{ name: "rope_freqs.weight", dims: [headSize / 2], kind: "factors" }],
};
