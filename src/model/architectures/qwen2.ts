import type { ArchitectureSpec } from "./types.ts";
import { attentionBiases, llamaBlock } from "./weights.ts";

/** The head may have a bias, `output.bias`, which travels with the head. */
export const qwen2: ArchitectureSpec = {
  name: "qwen2",
  norm: "rms",
  output: "optional",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "tied",
  groupedHeads: true,
  experts: "never",
  headStage: "llama",
  blockTensors: (shape) => [...llamaBlock(shape), ...attentionBiases(shape)],
};
