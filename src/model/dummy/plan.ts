import { NoodleError } from "../../common/index.ts";
import { type GgmlType, type GgufMetadata, type GgufValue, ggmlTypeByName } from "../../gguf/index.ts";
import { type BlockShape, float32, text, uint32, type WeightSpec } from "../architectures/index.ts";
import { findFileType } from "../file-type.ts";
import {
  blockTensorName,
  OUTPUT,
  OUTPUT_NORM,
  OUTPUT_NORM_BIAS,
  POSITION_EMBEDDING,
  TOKEN_EMBEDDING,
} from "../tensor-place.ts";
import { type CompiledDummyOptions, Q4_K_M } from "./options.ts";
import { makeTokenizer } from "./tokenizer.ts";
import type { RandomWeight } from "./weight-data.ts";

/** Experts that a token goes through. */
const USED_EXPERTS = 2;

export interface DummyPlan {
  readonly metadata: GgufMetadata;
  readonly tensors: readonly RandomWeight[];
}

/**
 * What a dummy's file holds. Pure.
 *
 * @throws NoodleError `USAGE` when a matrix's rows are no multiple of the weight type's blocks
 */
export function planDummy(options: CompiledDummyOptions): DummyPlan {
  return { metadata: planMetadata(options), tensors: planTensors(options) };
}

function planMetadata(options: CompiledDummyOptions): GgufMetadata {
  const { spec, architecture, layers, embd, heads, kvHeads, headSize, ff, experts, slidingWindow } = options;
  const shape = shapeOf(options);
  const keys = new Map<string, GgufValue | null>([
    ["context_length", uint32(options.contextLength)],
    ["embedding_length", uint32(embd)],
    ["block_count", uint32(layers)],
    ["feed_forward_length", uint32(ff)],
    ["attention.head_count", uint32(heads)],
    ["attention.head_count_kv", uint32(kvHeads)],
    [spec.norm === "rms" ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", float32(1e-5)],
    ["vocab_size", uint32(options.vocab)],
  ]);
  if (!spec.positionEmbedding) keys.set("rope.dimension_count", uint32(headSize));
  if (heads * headSize !== embd) {
    keys.set("attention.key_length", uint32(headSize));
    keys.set("attention.value_length", uint32(headSize));
  }
  if (experts > 0) {
    keys.set("expert_count", uint32(experts));
    keys.set("expert_used_count", uint32(USED_EXPERTS));
  }
  if (slidingWindow !== null) keys.set("attention.sliding_window", uint32(slidingWindow));
  for (const [key, value] of spec.dummyMetadata?.(shape) ?? []) keys.set(key, value);

  const metadata = new Map<string, GgufValue>([
    ["general.architecture", text(architecture)],
    ["general.type", text("model")],
    // No name of a model family: the engine takes some for a sign of certain special tokens.
    ["general.name", text(`dummy ${layers} x ${embd}, ${options.type}, seed ${options.seed}`)],
    ["general.quantization_version", uint32(2)],
  ]);
  const fileType = findFileType(FILE_TYPE_NAMES.get(options.type) ?? options.type.toUpperCase());
  if (fileType !== undefined) metadata.set("general.file_type", uint32(fileType));
  for (const [key, value] of keys) if (value !== null) metadata.set(`${architecture}.${key}`, value);
  for (const [key, value] of makeTokenizer(options.vocab)) metadata.set(key, value);
  return metadata;
}

/** The engine's file types know one name for several mixes; these stand for the pure types. */
const FILE_TYPE_NAMES: ReadonlyMap<string, string> = new Map([
  ["q3_k", "Q3_K_S"],
  ["q4_k", "Q4_K_S"],
  ["q5_k", "Q5_K_S"],
  ["mxfp4", "MXFP4_MOE"],
]);

function planTensors(options: CompiledDummyOptions): RandomWeight[] {
  const { spec, embd, vocab, layers, contextLength } = options;
  const shape = shapeOf(options);
  const weights: WeightSpec[] = [{ name: TOKEN_EMBEDDING, dims: [embd, vocab], kind: "matrix" }];
  if (spec.positionEmbedding) weights.push({ name: POSITION_EMBEDDING, dims: [embd, contextLength], kind: "router" });
  weights.push(...(spec.sharedTensors?.(shape) ?? []));
  for (let block = 0; block < layers; block++) {
    for (const weight of spec.blockTensors(shape)) {
      weights.push({ ...weight, name: blockTensorName(block, weight.name) });
    }
  }
  weights.push({ name: OUTPUT_NORM, dims: [embd], kind: "norm" });
  if (spec.outputNormBias) weights.push({ name: OUTPUT_NORM_BIAS, dims: [embd], kind: "bias" });
  if (!options.tied) weights.push({ name: OUTPUT, dims: [embd, vocab], kind: "matrix" });
  return weights.map((weight) => ({ ...weight, type: chooseType(weight, options) }));
}

function shapeOf({ embd, heads, kvHeads, headSize, ff, experts }: CompiledDummyOptions): BlockShape {
  return { embd, heads, kvHeads, headSize, ff, experts };
}

function chooseType(weight: WeightSpec, options: CompiledDummyOptions): GgmlType {
  if (weight.kind !== "matrix") return ggmlTypeByName("f32");
  const rowElements = weight.dims[0] ?? 1;
  if (options.type === Q4_K_M) return chooseMixedType(weight.name, rowElements, options);
  const type = ggmlTypeByName(options.type);
  if (rowElements % type.blockElements === 0) return type;
  throw new NoodleError(
    "USAGE",
    `--type ${options.type} needs rows of a multiple of ${type.blockElements}, "${weight.name}" has ${rowElements}: ` +
      "change --embd, --ff or --head-size, or take a type of smaller blocks",
    { details: { tensor: weight.name, rowElements, blockElements: type.blockElements } },
  );
}

/**
 * More bits for the output matrix, and for the values and the second feed-forward matrix of about half of the layers.
 *
 * @see llama-quant.cpp `use_more_bits`, `tensor_type_fallback` (llama.cpp de3ff81)
 */
function chooseMixedType(name: string, rowElements: number, options: CompiledDummyOptions): GgmlType {
  const isOutput = name === OUTPUT || (name === TOKEN_EMBEDDING && options.tied);
  const match = /^blk\.(\d+)\.(attn_v|attn_qkv|ffn_down)/.exec(name);
  const getsMoreBits = isOutput || (match !== null && usesMoreBits(Number(match[1]), options.layers));
  const [wide, narrow] = getsMoreBits ? ["q6_k", "q8_0"] : ["q4_k", "q5_0"];
  const types = [wide, narrow].map((candidate) => ggmlTypeByName(candidate));
  return types.find(({ blockElements }) => rowElements % blockElements === 0) ?? ggmlTypeByName("f16");
}

function usesMoreBits(block: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return block < eighth || block >= Math.floor((7 * layers) / 8) || (block - eighth) % 3 === 2;
}
