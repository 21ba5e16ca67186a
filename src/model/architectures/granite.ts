import { getNumber } from "../../gguf/index.ts";
import type { ModelFacts } from "../facts.ts";
import { float32, uint32 } from "./metadata-values.ts";
import type { ArchitectureSpec, BlockShape, MetadataEdits } from "./types.ts";
import { llamaBlock, matrix } from "./weights.ts";

/**
 * The engine multiplies whatever comes in by `embedding_scale`, hidden states too: stages behind the embedding leave the
 * key out. Logits are divided by a scale in the head.
 */
export const granite: ArchitectureSpec = {
  name: "granite",
  norm: "rms",
  output: "optional",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "free",
  groupedHeads: true,
  experts: "never",
  headStage: "own",
  embeddingScale: readEmbeddingScale,
  laterStageMetadata: new Map([["embedding_scale", null]]),
  blockTensors: llamaBlock,
  dummyMetadata: graniteScales,
};

/** With a shared expert beside the routed ones. */
export const granitemoe: ArchitectureSpec = {
  ...granite,
  name: "granitemoe",
  experts: "always",
  blockTensors: (shape) =>
    shape.experts === 0
      ? llamaBlock(shape)
      : [
          ...llamaBlock(shape),
          matrix("ffn_gate_shexp", shape.embd, shape.ff),
          matrix("ffn_up_shexp", shape.embd, shape.ff),
          matrix("ffn_down_shexp", shape.ff, shape.embd),
        ],
  dummyMetadata: (shape) => new Map([...graniteScales(shape), ["expert_shared_feed_forward_length", uint32(shape.ff)]]),
};

/** 0 means no scale to the engine. */
function readEmbeddingScale(facts: ModelFacts): number | null {
  const scale = getNumber(facts.metadata, `${facts.architecture}.embedding_scale`) ?? 0;
  return scale === 0 ? null : Math.fround(scale);
}

function graniteScales({ headSize }: BlockShape): MetadataEdits {
  return new Map([
    ["embedding_scale", float32(12)],
    ["residual_scale", float32(0.22)],
    ["attention.scale", float32(1 / headSize)],
    ["logit_scale", float32(8)],
  ]);
}
