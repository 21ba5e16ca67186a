import { uint32 } from "./metadata-values.ts";
import type { ArchitectureSpec } from "./types.ts";
import { attentionBiases, llamaBlock, matrix } from "./weights.ts";

/** A shared expert runs beside the routed ones, behind a gate of its own. */
export const qwen2moe: ArchitectureSpec = {
  name: "qwen2moe",
  norm: "rms",
  output: "required",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "tied",
  groupedHeads: true,
  experts: "always",
  headStage: "llama",
  blockTensors: (shape) => [
    ...llamaBlock(shape),
    ...attentionBiases(shape),
    { name: "ffn_gate_inp_shexp.weight", dims: [shape.embd], kind: "bias" },
    matrix("ffn_gate_shexp", shape.embd, shape.ff),
    matrix("ffn_up_shexp", shape.embd, shape.ff),
    matrix("ffn_down_shexp", shape.ff, shape.embd),
  ],
  dummyMetadata: ({ ff }) =>
    new Map([
      ["expert_feed_forward_length", uint32(ff)],
      ["expert_shared_feed_forward_length", uint32(ff)],
    ]),
};
