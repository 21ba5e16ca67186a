import type { Role } from "./roles.ts";

/** What a block's weights are for, by their names in GGUF without `blk.N.` and ending. The first match counts. */
const BLOCK_WEIGHTS: readonly (readonly [RegExp, Role])[] = [
  [/^attn_(?:q|k|v|qkv)(?:_norm)?$/, "attention.qkv"],
  [/^attn_output$/, "attention.output"],
  [/^ffn_gate_inp(?:_shexp)?$|^exp_probs_b$/, "moe.router"],
  [/_(?:sh)?exps?$/, "moe.experts"],
  [/norm/, "norm"],
  [/^ffn_gate$/, "mlp.gate"],
  [/^ffn_up$/, "mlp.up"],
  [/^ffn_down$/, "mlp.down"],
];

export interface WeightMeaning {
  readonly role: Role;
  /** Block index in the file; null for the weights outside of the blocks. */
  readonly block: number | null;
}

/**
 * What a tensor of the file says about the node that reads it; null for what is no weight, or one that several kinds of
 * nodes read (rope factors, attention sinks).
 */
export function readWeight(name: string, op: string): WeightMeaning | null {
  const match = /^(?:blk\.([0-9]+)\.)?(.+)\.(?:weight|bias)$/.exec(name);
  if (match === null) return null;
  const [, block, kind = ""] = match;
  if (block !== undefined) {
    const role = BLOCK_WEIGHTS.find(([pattern]) => pattern.test(kind))?.[1];
    return role === undefined ? null : { role, block: Number(block) };
  }
  if (kind === "position_embd") return { role: "embedding.position", block: null };
  if (kind === "token_embd") return { role: op === "GET_ROWS" ? "embedding.token" : "head", block: null };
  if (kind === "output") return { role: "head", block: null };
  if (kind === "output_norm") return { role: "norm", block: null };
  return null;
}
