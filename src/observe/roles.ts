/**
 * What a piece of a step is for. Norms of queries and keys count as `attention.qkv`, in the middle of which they lie;
 * biases and scalings count for the matrix product before them; shared experts for `moe.experts`. The fine roles belong to single graph nodes (level `node`); the groups are what level
 * `role` tells apart, with a few synchronisations for each block.
 */
export const ROLES = [
  "embedding.token",
  "embedding.position",
  "norm",
  "attention.qkv",
  "attention.rope",
  "attention.kv_write",
  "attention.scores",
  "attention.output",
  "mlp.gate",
  "mlp.up",
  "mlp.act",
  "mlp.down",
  "moe.router",
  "moe.experts",
  "residual",
  "head",
  "sampling",
  "transfer",
  "other",
] as const;

export type Role = (typeof ROLES)[number];

export const ROLE_GROUPS = [
  "embedding.token",
  "embedding.position",
  "norm",
  "attention",
  "mlp",
  "head",
  "sampling",
  "transfer",
  "other",
] as const;

export type RoleGroup = (typeof ROLE_GROUPS)[number];

/**
 * The group that a role counts for, or null for a residual addition: it is computed together with what precedes it.
 */
export function groupOf(role: Role): RoleGroup | null {
  if (role === "residual") return null;
  if (role.startsWith("attention.")) return "attention";
  if (role.startsWith("mlp.") || role.startsWith("moe.")) return "mlp";
  return role as RoleGroup;
}
