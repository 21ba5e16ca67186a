/** Where a tensor belongs, told from its name. */
export type TensorPlace =
  | { readonly kind: "embedding" }
  | { readonly kind: "block"; readonly block: number; readonly suffix: string }
  | { readonly kind: "head" }
  /** Read by every block, so every stage with blocks carries a copy; counted with the first block. */
  | { readonly kind: "shared" };

export type TensorRole = "attention" | "mlp" | "norm" | "other";

export const TOKEN_EMBEDDING = "token_embd.weight";
export const POSITION_EMBEDDING = "position_embd.weight";
export const OUTPUT = "output.weight";
export const OUTPUT_NORM = "output_norm.weight";
export const OUTPUT_NORM_BIAS = "output_norm.bias";

const EMBEDDING_NAMES = ["token_embd.", "token_embd_norm.", "position_embd.", "token_types.", "per_layer_"];
const SHARED_NAMES = ["rope_freqs.", "rope_factors_long.", "rope_factors_short."];

/** Names that say nothing else belong to the head, where models keep their odd tensors. */
export function placeTensor(name: string): TensorPlace {
  const match = /^blk\.(\d+)\.(.+)$/.exec(name);
  if (match !== null) return { kind: "block", block: Number(match[1]), suffix: match[2] ?? "" };
  if (EMBEDDING_NAMES.some((prefix) => name.startsWith(prefix))) return { kind: "embedding" };
  if (SHARED_NAMES.some((prefix) => name.startsWith(prefix))) return { kind: "shared" };
  return { kind: "head" };
}

export function roleOf(name: string): TensorRole {
  const base = name.replace(/^blk\.\d+\./, "");
  if (base.includes("norm")) return "norm";
  if (base.startsWith("attn_")) return "attention";
  if (base.startsWith("ffn_") || base.startsWith("exp_probs")) return "mlp";
  return "other";
}

export function blockTensorName(block: number, suffix: string): string {
  return `blk.${block}.${suffix}`;
}
