import { float32 } from "./metadata-values.ts";
import type { ArchitectureSpec } from "./types.ts";
import { headNorms, llamaBlock, norm } from "./weights.ts";

/**
 * Token embeddings are scaled, hidden states are not. The attention scale of the 27B model is told by its 62 layers.
 * The head may squash the logits.
 */
export const gemma3: ArchitectureSpec = {
  name: "gemma3",
  norm: "rms",
  output: "optional",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "free",
  groupedHeads: true,
  experts: "never",
  sliding: { defaultPeriod: 6 },
  headStage: "own",
  embeddingScale: (facts) => Math.fround(Math.sqrt(facts.embeddingLength)),
  pinnedBlockCount: { count: 62, what: "attention scale" },
  blockTensors: (shape) => [
    ...llamaBlock(shape),
    ...headNorms(shape),
    norm("post_attention_norm", shape.embd),
    norm("post_ffw_norm", shape.embd),
  ],
  dummyMetadata: () => new Map([["rope.freq_base", float32(1_000_000)]]),
};
