import type { ArchitectureSpec } from "./types.ts";
import { headNorms, llamaBlock } from "./weights.ts";

export const qwen3: ArchitectureSpec = {
  name: "qwen3",
  norm: "rms",
  output: "optional",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "free",
  groupedHeads: true,
  experts: "never",
  headStage: "llama",
  blockTensors: (shape) => [...llamaBlock(shape), ...headNorms(shape)],
};
