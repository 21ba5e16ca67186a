import { uint32 } from "./metadata-values.ts";
import type { ArchitectureSpec, BlockShape, WeightSpec } from "./types.ts";
import { attention, attentionBiases, bias, expertMlp, norm } from "./weights.ts";

/** Attention has sinks and biases, experts have biases, every second layer has a window. */
export const gptOss: ArchitectureSpec = {
  name: "gpt-oss",
  norm: "rms",
  output: "required",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "free",
  groupedHeads: true,
  experts: "always",
  sliding: { defaultPeriod: 2, required: true },
  headStage: "llama",
  illegalCut: (facts, cut) =>
    cut === facts.blockCount + 1 ? "the last block hands on every row, so the head cannot tell which are wanted" : null,
  blockTensors: (shape) => [
    norm("attn_norm", shape.embd),
    ...attention(shape),
    ...attentionBiases(shape),
    bias("attn_output", shape.embd),
    { name: "attn_sinks.weight", dims: [shape.heads], kind: "bias" },
    norm("post_attention_norm", shape.embd),
    ...expertMlp(shape),
    bias("ffn_gate_inp", shape.experts),
    ...expertBiases(shape),
  ],
  dummyMetadata: ({ ff }) => new Map([["expert_feed_forward_length", uint32(ff)]]),
};

function expertBiases({ embd, ff, experts }: BlockShape): WeightSpec[] {
  return [
    { name: "ffn_gate_exps.bias", dims: [ff, experts], kind: "bias" },
    { name: "ffn_up_exps.bias", dims: [ff, experts], kind: "bias" },
    { name: "ffn_down_exps.bias", dims: [embd, experts], kind: "bias" },
  ];
}
