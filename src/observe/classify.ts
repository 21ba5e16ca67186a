import { type GraphNode, type GraphSource, type GraphStage, isHeadAlone } from "./graph.ts";
import type { Role } from "./roles.ts";
import { readWeight, type WeightMeaning } from "./weight-roles.ts";

export interface NodeMeaning {
  /** Unit of the undivided model. */
  readonly unit: number;
  readonly role: Role;
}

/**
 * Says of every node of a stage's graph which unit it belongs to and what it is for. Weights speak first, then the
 * operation, then what the node's sources are for.
 *
 * - Norms of queries and keys (qwen3, gemma3, olmo2) are `attention.qkv`: they lie in the middle of it.
 * - A bias or a scaling belongs to the matrix product before it; a scaling of rotated queries to `attention.scores`.
 * - Shared experts are `moe.experts`, their gate is `moe.router`.
 * - What a later stage does to the hidden state that came in (a scale of one, positions of zero) keeps its `embedding`
 *   role and counts for the stage's first unit; at level `role` it goes with what follows.
 * - A stage of the head alone computes a block of zeros first: unit head, role `other`. It is what that cut costs.
 *
 * @param nodes all nodes, views too, in the engine's order
 */
export function classifyGraph(nodes: readonly GraphNode[], stage: GraphStage): readonly NodeMeaning[] {
  const { units, unitCount } = stage;
  const headUnit = unitCount - 1;
  const headAlone = isHeadAlone(stage);
  const firstBlockUnit = Math.max(units.first, 1);
  const fileBlocks = Math.max(0, Math.min(units.end, headUnit) - firstBlockUnit);
  const meanings: NodeMeaning[] = [];
  const stream = new Set<number>();
  let block = 0;
  let zeroBlock = headAlone;
  let isEntry = true;
  for (const node of nodes) {
    const weight = findWeight(node);
    if (weight?.block !== undefined) {
      if (weight.block !== null) block = Math.max(block, weight.block);
      else if (weight.role === "norm" || weight.role === "head") block = Number.POSITIVE_INFINITY;
    }
    if (block > 0) zeroBlock = false;
    const role = zeroBlock ? "other" : nameRole(node, weight, meanings, stream);
    const isEmbedding = isEntry && role.startsWith("embedding.");
    if (!isEmbedding && !node.isView) isEntry = false;
    if (isEmbedding || role === "residual") stream.add(node.ordinal);
    const unit = headAlone || block >= fileBlocks ? headUnit : isEmbedding ? units.first : firstBlockUnit + block;
    meanings.push({ unit: isEmbedding && !headAlone ? units.first : unit, role });
    const closed = /^l_out-([0-9]+)$/.exec(node.name)?.[1];
    if (closed !== undefined) block = Math.max(block, Number(closed) + 1);
  }
  return meanings;
}

function findWeight(node: GraphNode): WeightMeaning | null {
  for (const { name, ordinal } of node.sources) {
    const meaning = ordinal < 0 ? readWeight(name, node.op) : null;
    if (meaning !== null) return meaning;
  }
  return null;
}

/** @param stream ordinals of the nodes that carry the residual stream so far */
function nameRole(
  node: GraphNode,
  weight: WeightMeaning | null,
  meanings: readonly NodeMeaning[],
  stream: ReadonlySet<number>,
): Role {
  if (weight !== null) return weight.role;
  const roles = node.sources.flatMap(({ ordinal }) => meanings[ordinal]?.role ?? []);
  const carries = node.sources.map((source) => stream.has(source.ordinal) || isHiddenInput(source));
  const first = roles[0] ?? roleOfInputs(node);
  switch (node.op) {
    case "FLASH_ATTN_EXT":
    case "MUL_MAT": // of two activations: the attention that is not fused
      return "attention.scores";
    case "ROPE":
      return "attention.rope";
    case "SET_ROWS":
      return "attention.kv_write";
    case "CPY":
      return node.sources.some(({ name }) => name.startsWith("cache_")) ? "attention.kv_write" : first;
    case "ARGSORT":
    case "TOP_K":
      return "moe.router";
    case "SOFT_MAX":
      return first === "moe.router" ? first : "attention.scores";
    case "NORM":
    case "RMS_NORM":
    case "L2_NORM":
      return first === "attention.qkv" || first === "attention.rope" ? "attention.qkv" : "norm";
    case "GLU":
    case "UNARY":
      return first.startsWith("mlp.") ? "mlp.act" : first;
    case "GET_ROWS":
      return carries[0] === true ? "residual" : first;
    case "ADD":
      if (roles.includes("embedding.position") && isEntry(node, roles)) return "embedding.position";
      return carries.length === 2 && carries[0] !== carries[1] ? "residual" : first;
    case "SCALE":
    case "MUL":
      if (carries[0] === true) return first.startsWith("embedding.") ? first : "residual";
      if (roles.includes("mlp.act")) return "mlp.act";
      return first === "attention.qkv" || first === "attention.rope" ? "attention.scores" : first;
    default:
      return first;
  }
}

/** Everything that it adds up comes from the embedding or from outside. */
function isEntry(node: GraphNode, roles: readonly Role[]): boolean {
  return (
    roles.every((role) => role.startsWith("embedding.")) &&
    roles.length + node.sources.filter(isHiddenInput).length === 2
  );
}

function roleOfInputs(node: GraphNode): Role {
  if (node.sources.some(isHiddenInput)) return "embedding.token";
  return node.sources.some(({ name }) => name.includes("kq_mask")) ? "attention.scores" : "other";
}

/** The engine's input of hidden states. */
function isHiddenInput({ ordinal, name }: GraphSource): boolean {
  return ordinal < 0 && (name === "embd" || name === "inp_embd");
}
