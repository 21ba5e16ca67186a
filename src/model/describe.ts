import { type GgufHeader, type GgufTensor, getArray, getNumber, getString } from "../gguf/index.ts";
import { type CutTable, listCuts, readStageLimits, type StageLimits } from "./cuts.ts";
import { type ModelFacts, readFacts, readLayerNumber } from "./facts.ts";
import { nameFileType } from "./file-type.ts";
import { findSupport } from "./support.ts";
import { OUTPUT, placeTensor, roleOf, TOKEN_EMBEDDING } from "./tensor-place.ts";
import { countUnits } from "./units.ts";

export interface UnitRoles {
  readonly attentionBytes: number;
  readonly mlpBytes: number;
  readonly normBytes: number;
  readonly otherBytes: number;
}

export interface ModelUnit {
  readonly index: number;
  /** `embed`, `blk.0` ..., `head`. */
  readonly name: string;
  readonly kind: "embedding" | "block" | "head";
  /** Of the tensors' data, without padding. */
  readonly bytes: number;
  readonly parameters: number;
  readonly tensors: readonly string[];
  readonly roles: UnitRoles;
  /** Keys and values of one token in F16. */
  readonly kvBytesPerToken: number;
}

/**
 * What a model file holds, unit by unit. The units' bytes add up to the bytes of all tensors: a matrix that embedding
 * and head share is counted with the embedding, tensors that every block reads with the first block; `stageBytes`
 * counts the copies that stages need of them.
 */
export interface ModelDescription extends CutTable, StageLimits {
  readonly architecture: string;
  /** null when the file gives none. */
  readonly name: string | null;
  readonly parameters: number;
  readonly fileBytes: number;
  /** Tokens that the model was trained for; 0 when the file does not say. */
  readonly contextLength: number;
  readonly embeddingLength: number;
  readonly vocabSize: number;
  /** As llama.cpp names it, for example `Q4_K_M`, or the type of most bytes. */
  readonly quantization: string;
  /** The token embedding is the output matrix too. */
  readonly tiedHead: boolean;
  readonly support: "verified" | "unverified" | "unsupported";
  readonly units: readonly ModelUnit[];
  /** Matrix that the head shares with the embedding; 0 when it has its own. */
  readonly tiedBytes: number;
  /** Tensors that every stage with blocks needs a copy of. */
  readonly sharedBytes: number;
}

/**
 * Describes any model, also one that cannot be cut.
 *
 * @throws NoodleError `GGUF_MALFORMED` for keys of a wrong type
 */
export function describeModel(header: GgufHeader, fileBytes: number): ModelDescription {
  const facts = readFacts(header);
  const units = listUnits(facts, header.tensors);
  const tokenEmbedding = facts.tensors.get(TOKEN_EMBEDDING);
  const tiedHead = tokenEmbedding !== undefined && !facts.tensors.has(OUTPUT);
  const shared = header.tensors.filter((tensor) => placeTensor(tensor.name).kind === "shared");
  return {
    architecture: facts.architecture,
    name: getString(facts.metadata, "general.name") ?? null,
    parameters: sum(units, (unit) => unit.parameters),
    fileBytes,
    contextLength: getNumber(facts.metadata, `${facts.architecture}.context_length`) ?? 0,
    embeddingLength: facts.embeddingLength,
    vocabSize: readVocabSize(facts, tokenEmbedding),
    quantization: nameFileType(facts.metadata) ?? nameDominantType(header.tensors),
    tiedHead,
    support: findSupport(facts).level,
    units,
    ...listCuts(facts),
    ...readStageLimits(facts),
    tiedBytes: tiedHead ? (tokenEmbedding?.bytes ?? 0) : 0,
    sharedBytes: sum(shared, (tensor) => tensor.bytes),
  };
}

/** The unit that counts a tensor. Blocks beyond the model's, which the engine would refuse, are counted with the head. */
function unitOf(name: string, blockCount: number): number {
  const place = placeTensor(name);
  const headUnit = blockCount + 1;
  if (place.kind === "embedding") return 0;
  if (place.kind === "shared") return Math.min(1, headUnit);
  if (place.kind === "block") return Math.min(place.block + 1, headUnit);
  return headUnit;
}

function listUnits(facts: ModelFacts, tensors: readonly GgufTensor[]): ModelUnit[] {
  const { blockCount } = facts;
  const byUnit = new Map<number, GgufTensor[]>();
  for (const tensor of tensors) {
    const unit = unitOf(tensor.name, blockCount);
    const list = byUnit.get(unit);
    if (list === undefined) byUnit.set(unit, [tensor]);
    else list.push(tensor);
  }
  return Array.from({ length: countUnits(blockCount) }, (_, index) => {
    const kind = index === 0 ? "embedding" : index <= blockCount ? "block" : "head";
    return describeUnit(index, kind, byUnit.get(index) ?? [], kind === "block" ? kvBytesPerToken(facts, index - 1) : 0);
  });
}

function describeUnit(
  index: number,
  kind: ModelUnit["kind"],
  tensors: readonly GgufTensor[],
  unitKvBytesPerToken: number,
): ModelUnit {
  const bytesOf = (role: string) => sum(tensors, (tensor) => (roleOf(tensor.name) === role ? tensor.bytes : 0));
  return {
    index,
    name: kind === "block" ? `blk.${index - 1}` : kind === "embedding" ? "embed" : "head",
    kind,
    bytes: sum(tensors, (tensor) => tensor.bytes),
    parameters: sum(tensors, countElements),
    tensors: tensors.map((tensor) => tensor.name),
    roles: {
      attentionBytes: bytesOf("attention"),
      mlpBytes: bytesOf("mlp"),
      normBytes: bytesOf("norm"),
      otherBytes: bytesOf("other"),
    },
    kvBytesPerToken: unitKvBytesPerToken,
  };
}

/** Every head of keys and values has one row each for each token, in layers with a window too. */
function kvBytesPerToken(facts: ModelFacts, block: number): number {
  const heads = readLayerNumber(facts, "attention.head_count", block) ?? 0;
  if (heads === 0) return 0;
  const kvHeads = readLayerNumber(facts, "attention.head_count_kv", block) ?? heads;
  const defaultSize = Math.floor(facts.embeddingLength / heads);
  const keySize = readLayerNumber(facts, "attention.key_length", block) ?? defaultSize;
  const valueSize = readLayerNumber(facts, "attention.value_length", block) ?? defaultSize;
  return kvHeads * (keySize + valueSize) * 2;
}

function readVocabSize(facts: ModelFacts, tokenEmbedding: GgufTensor | undefined): number {
  const tokens = getArray(facts.metadata, "tokenizer.ggml.tokens");
  if (tokens !== undefined) return tokens.length;
  return getNumber(facts.metadata, `${facts.architecture}.vocab_size`) ?? tokenEmbedding?.dims[1] ?? 0;
}

function nameDominantType(tensors: readonly GgufTensor[]): string {
  const bytes = new Map<string, number>();
  for (const tensor of tensors) bytes.set(tensor.type.name, (bytes.get(tensor.type.name) ?? 0) + tensor.bytes);
  const [dominant] = [...bytes].sort((a, b) => b[1] - a[1]);
  return dominant === undefined ? "unknown" : dominant[0].toUpperCase();
}

function countElements(tensor: GgufTensor): number {
  return tensor.dims.reduce((product, dim) => product * dim, 1);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
