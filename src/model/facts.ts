import { type GgufHeader, type GgufMetadata, type GgufTensor, getNumber, getString } from "../gguf/index.ts";

/** What cutting and describing read again and again from a header, read once. */
export interface ModelFacts {
  readonly architecture: string;
  readonly metadata: GgufMetadata;
  /** By name. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  readonly blockCount: number;
  /** Width of the hidden state; 0 when the header does not say. */
  readonly embeddingLength: number;
}

/** Never fails for a header that was read: what is missing becomes 0 or `unknown`. */
export function readFacts(header: GgufHeader): ModelFacts {
  const { metadata } = header;
  const architecture = getString(metadata, "general.architecture") ?? "unknown";
  return {
    architecture,
    metadata,
    tensors: new Map(header.tensors.map((tensor) => [tensor.name, tensor])),
    blockCount: getNumber(metadata, `${architecture}.block_count`) ?? countBlocks(header.tensors),
    embeddingLength: getNumber(metadata, `${architecture}.embedding_length`) ?? 0,
  };
}

/** The number behind `{architecture}.{key}`; of a per-layer array, the value of `layer`. */
export function readLayerNumber(facts: ModelFacts, key: string, layer: number): number | undefined {
  const entry = facts.metadata.get(`${facts.architecture}.${key}`);
  if (entry?.type !== "array") return getNumber(facts.metadata, `${facts.architecture}.${key}`);
  const item = entry.value[layer];
  return typeof item === "number" || typeof item === "bigint" || typeof item === "boolean" ? Number(item) : undefined;
}

function countBlocks(tensors: readonly GgufTensor[]): number {
  let count = 0;
  for (const tensor of tensors) {
    const match = /^blk\.(\d+)\./.exec(tensor.name);
    if (match !== null) count = Math.max(count, Number(match[1]) + 1);
  }
  return count;
}
