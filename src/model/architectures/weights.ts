import type { BlockShape, WeightSpec } from "./types.ts";

/** Building blocks of the tensor lists: the same few groups come back in most architectures. */

export function matrix(name: string, ...dims: number[]): WeightSpec {
  return { name: `${name}.weight`, dims, kind: "matrix" };
}

export function norm(name: string, ...dims: number[]): WeightSpec {
  return { name: `${name}.weight`, dims, kind: "norm" };
}

export function bias(name: string, width: number): WeightSpec {
  return { name: `${name}.bias`, dims: [width], kind: "bias" };
}

/** Layer norm with weight and bias. */
export function biasedNorm(name: string, width: number): WeightSpec[] {
  return [norm(name, width), bias(name, width)];
}

/** Separate query, key and value matrices and the output matrix. */
export function attention(shape: BlockShape): WeightSpec[] {
  const { embd, heads, kvHeads, headSize } = shape;
  return [
    matrix("attn_q", embd, heads * headSize),
    matrix("attn_k", embd, kvHeads * headSize),
    matrix("attn_v", embd, kvHeads * headSize),
    matrix("attn_output", heads * headSize, embd),
  ];
}

export function attentionBiases(shape: BlockShape): WeightSpec[] {
  const { heads, kvHeads, headSize } = shape;
  return [bias("attn_q", heads * headSize), bias("attn_k", kvHeads * headSize), bias("attn_v", kvHeads * headSize)];
}

/** Norms of queries and keys, one head wide. */
export function headNorms(shape: BlockShape): WeightSpec[] {
  return [norm("attn_q_norm", shape.headSize), norm("attn_k_norm", shape.headSize)];
}

/** Feed-forward with a gate. */
export function gatedMlp(shape: BlockShape): WeightSpec[] {
  const { embd, ff } = shape;
  return [matrix("ffn_gate", embd, ff), matrix("ffn_up", embd, ff), matrix("ffn_down", ff, embd)];
}

/** Experts with gates, and their router. */
export function expertMlp(shape: BlockShape): WeightSpec[] {
  const { embd, ff, experts } = shape;
  return [
    { name: "ffn_gate_inp.weight", dims: [embd, experts], kind: "router" },
    matrix("ffn_gate_exps", embd, ff, experts),
    matrix("ffn_up_exps", embd, ff, experts),
    matrix("ffn_down_exps", ff, embd, experts),
  ];
}

export function mlpOrExperts(shape: BlockShape): WeightSpec[] {
  return shape.experts > 0 ? expertMlp(shape) : gatedMlp(shape);
}

/** The shape that most models share: norm, attention, norm, feed-forward. */
export function llamaBlock(shape: BlockShape): WeightSpec[] {
  return [norm("attn_norm", shape.embd), ...attention(shape), norm("ffn_norm", shape.embd), ...mlpOrExperts(shape)];
}
