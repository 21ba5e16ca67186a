import { type GgufHeader, type GgufMetadata, type GgufTensor, getNumber } from "../gguf/index.ts";
import { describeModel, listSlidingBlocks, type ModelUnit } from "../model/index.ts";
import type { Role } from "../observe/index.ts";
import { nameClasses } from "./classes.ts";
import type { AttentionWork, ModelWork, TensorWork, UnitWork } from "./model-work.ts";

/** Architectures whose last block hands on every row, wanted or not. */
const KEEPS_ALL_ROWS: ReadonlySet<string> = new Set(["gpt-oss"]);

/** Roles of block tensors by the beginning of their names; the first that fits holds. */
const BLOCK_ROLES: readonly (readonly [prefix: string, role: Role])[] = [
  ["attn_output", "attention.output"],
  ["attn_sinks", "attention.scores"],
  ["attn_", "attention.qkv"],
  ["ffn_gate_inp", "moe.router"],
  ["exp_probs", "moe.router"],
  ["ffn_gate_up", "mlp.up"],
  ["ffn_gate", "mlp.gate"],
  ["ffn_up", "mlp.up"],
  ["ffn_down", "mlp.down"],
  ["rope_", "attention.rope"],
];

/**
 * Reads from a header what every unit of the model has to do. Needs no weights.
 *
 * @param fileBytes of the model's file, 0 when there is none
 * @throws NoodleError `GGUF_MALFORMED` for keys of a wrong type
 */
export function describeWork(header: GgufHeader, fileBytes = 0): ModelWork {
  const model = describeModel(header, fileBytes);
  const tensors = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
  const sliding = listSlidingBlocks(header);
  const keys = new LayerKeys(header.metadata, model.architecture, tensors.has("position_embd.weight"));
  const shared = header.tensors.filter((tensor) => tensor.name.startsWith("rope_"));
  const used = keys.read("expert_used_count", 0) ?? 0;
  const unnamed = model.units.map((unit): Omit<UnitWork, "unitClass"> => {
    const block = unit.index - 1;
    const isBlock = unit.kind === "block";
    const own = unit.tensors.flatMap((name) => tensors.get(name) ?? []).filter((tensor) => !shared.includes(tensor));
    const tied = unit.kind === "head" && model.tiedHead ? (tensors.get("token_embd.weight") ?? null) : null;
    const read = [...own, ...(isBlock ? shared : []), ...(tied === null ? [] : [tied])];
    const works = read.map((tensor) => describeTensor(tensor, unit.kind));
    const experts = works.find((tensor) => tensor.use === "experts")?.dims[2];
    return {
      unit: unit.index,
      name: unit.name,
      kind: unit.kind,
      hiddenWidth: model.embeddingLength,
      tensors: works,
      attention: isBlock ? describeAttention(keys, model.embeddingLength, block, sliding?.[block] === true) : null,
      experts: experts === undefined ? null : { count: experts, used: Math.min(experts, Math.max(1, used)) },
      kvBytesPerToken: unit.kvBytesPerToken,
      dropsRows: isBlock && block === model.blockCount - 1 && !KEEPS_ALL_ROWS.has(model.architecture),
    };
  });
  const names = nameClasses(unnamed);
  return {
    architecture: model.architecture,
    units: unnamed.map((unit, index) => ({ ...unit, unitClass: names[index] ?? unit.kind })),
    legalCuts: model.legalCuts,
  };
}

function describeTensor(tensor: GgufTensor, kind: ModelUnit["kind"]): TensorWork {
  const name = tensor.name.replace(/^blk\.\d+\./, "");
  const role = findRole(name, kind);
  const isMatrix = tensor.dims.filter((dim) => dim > 1).length > 1;
  const isLookup = kind === "embedding" && isMatrix && role.startsWith("embedding.");
  return {
    name,
    dims: tensor.dims,
    type: tensor.type.name,
    bytes: tensor.bytes,
    role,
    use: isLookup
      ? "lookup"
      : name.includes("_exps.") || name.includes("_chexps.")
        ? tensor.dims.length > 2
          ? "experts"
          : "vector"
        : isMatrix
          ? "matrix"
          : "vector",
  };
}

/** A bias or scale belongs to the matrix it stands beside. Odd tensors of the head are part of it. */
function findRole(name: string, kind: ModelUnit["kind"]): Role {
  if (name.includes("norm")) return "norm";
  if (kind === "embedding") return name.startsWith("position_embd") ? "embedding.position" : "embedding.token";
  if (kind === "head") return "head";
  if (name.includes("_exps.") || name.includes("_chexps.")) return "moe.experts";
  return BLOCK_ROLES.find(([prefix]) => name.startsWith(prefix))?.[1] ?? "other";
}

function describeAttention(
  keys: LayerKeys,
  embeddingLength: number,
  block: number,
  isSliding: boolean,
): AttentionWork | null {
  const heads = keys.read("attention.head_count", block) ?? 0;
  if (heads === 0) return null;
  const defaultSize = Math.floor(embeddingLength / heads);
  const window = keys.read("attention.sliding_window", block) ?? 0;
  return {
    heads,
    kvHeads: keys.read("attention.head_count_kv", block) ?? heads,
    keySize: keys.read("attention.key_length", block) ?? defaultSize,
    valueSize: keys.read("attention.value_length", block) ?? defaultSize,
    rotary: !keys.hasPositionTable,
    window: isSliding && window > 0 ? window : null,
  };
}

/** Numbers of `{architecture}.{key}`, which may be one for all layers or a list. */
class LayerKeys {
  readonly #metadata: GgufMetadata;
  readonly #architecture: string;
  readonly hasPositionTable: boolean;

  constructor(metadata: GgufMetadata, architecture: string, hasPositionTable: boolean) {
    this.hasPositionTable = hasPositionTable;
    this.#metadata = metadata;
    this.#architecture = architecture;
  }

  read(key: string, layer: number): number | undefined {
    const name = `${this.#architecture}.${key}`;
    const entry = this.#metadata.get(name);
    if (entry?.type !== "array") return getNumber(this.#metadata, name);
    const item = entry.value[layer];
    return typeof item === "number" || typeof item === "bigint" ? Number(item) : undefined;
  }
}
