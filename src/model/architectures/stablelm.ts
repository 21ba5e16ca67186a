import { uint32 } from "./metadata-values.ts";
import type { ArchitectureSpec } from "./types.ts";
import { attention, attentionBiases, biasedNorm, gatedMlp } from "./weights.ts";

/** Rotates a part of each head only. */
export const stablelm: ArchitectureSpec = {
  name: "stablelm",
  norm: "layer",
  output: "required",
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
    ...biasedNorm("ffn_norm", shape.embd),
    ...gatedMlp(shape),
  ],
  dummyMetadata: ({ headSize }) =>
    new Map([["rope.dimension_count", uint32(Math.max(2, Math.floor(headSize / 8) * 2))]]),
};
