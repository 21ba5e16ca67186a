import { uint32 } from "./metadata-values.ts";
import type { ArchitectureSpec } from "./types.ts";
import { headNorms, llamaBlock } from "./weights.ts";

export const qwen3moe: ArchitectureSpec = {
  name: "qwen3moe",
  norm: "rms",
  output: "optional",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "free",
  groupedHeads: true,
  experts: "always",
  headStage: "llama",
  blockTensors: (shape) => [...llamaBlock(shape), ...headNorms(shape)],
  dummyMetadata: ({ ff }) => new Map([["expert_feed_forward_length", uint32(ff)]]),
};
