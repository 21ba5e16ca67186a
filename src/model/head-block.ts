import { must, NoodleError } from "../common/index.ts";
import type { GgufMetadata, GgufValue } from "../gguf/index.ts";
import { type BlockShape, type CutSpec, text, uint32, type WeightSpec } from "./architectures/index.ts";
import { ARCHITECTURES } from "./architectures/index.ts";
import { type ModelFacts, readLayerNumber } from "./facts.ts";
import { filledVector, zeroMatrix } from "./fill.ts";
import { sliceLayers } from "./stage-metadata.ts";
import type { StageTensor } from "./stage-recipe.ts";
import { blockTensorName, placeTensor, roleOf } from "./tensor-place.ts";

/** Smallest width that every weight type and attention kernel takes. */
const MINIMAL_WIDTH = 32;

/** The block that stands in front of a lone head, since the engine refuses a file without blocks. */
export interface HeadBlock {
  readonly metadata: GgufMetadata;
  readonly tensors: readonly StageTensor[];
}

/**
 * One block that adds nothing: its matrices are zero, so attention and feed-forward give zero whatever the norms do,
 * and the hidden state passes unchanged, `x + 0 = x`.
 *
 * @throws NoodleError `GGUF_MALFORMED` for a model that lacks a key which its architecture requires
 */
export function planHeadBlock(facts: ModelFacts, spec: CutSpec): HeadBlock {
  if (spec.headStage === "llama") return planLlamaBlock(facts);
  return spec.headStage === "own" ? planOwnBlock(facts, spec) : planMirrorBlock(facts);
}

/** The architecture's own keys go, the few that a llama head needs come. */
function planLlamaBlock(facts: ModelFacts): HeadBlock {
  const { architecture } = facts;
  const shape = minimalShape(facts.embeddingLength);
  const kept = [...facts.metadata].filter(([key]) => !key.startsWith(`${architecture}.`));
  const metadata = new Map<string, GgufValue>(kept);
  metadata.set("general.architecture", text("llama"));
  for (const key of ["context_length", "embedding_length", "attention.layer_norm_rms_epsilon"]) {
    metadata.set(`llama.${key}`, requireValue(facts, key));
  }
  const vocabSize = facts.metadata.get(`${architecture}.vocab_size`);
  if (vocabSize !== undefined) metadata.set("llama.vocab_size", vocabSize);
  for (const [key, value] of [...shapeMetadata(shape), ...headSizeMetadata(shape)]) metadata.set(`llama.${key}`, value);
  return { metadata, tensors: fillBlock(must(ARCHITECTURES.get("llama"), "llama").blockTensors(shape)) };
}

function planOwnBlock(facts: ModelFacts, spec: CutSpec): HeadBlock {
  const { architecture } = facts;
  const full = must(ARCHITECTURES.get(spec.name), `architecture ${spec.name}`);
  const heads = readLayerNumber(facts, "attention.head_count", 0) ?? 1;
  const shape =
    full.headWidth === "free"
      ? minimalShape(facts.embeddingLength)
      : {
          ...minimalShape(facts.embeddingLength),
          heads,
          kvHeads: full.groupedHeads ? 1 : heads,
          headSize: facts.embeddingLength / heads,
        };
  const metadata = new Map<string, GgufValue>(sliceLayers(facts, { first: 0, end: 1 }));
  for (const key of metadata.keys()) {
    if (/^(expert_|attention\.sliding_window)|_swa$/.test(key.slice(architecture.length + 1))) metadata.delete(key);
  }
  const widths = full.headWidth === "free" ? headSizeMetadata(shape) : [];
  for (const [key, value] of [...shapeMetadata(shape), ...widths]) metadata.set(`${architecture}.${key}`, value);
  return { metadata, tensors: fillBlock(full.blockTensors(shape)) };
}

/** As wide as the model's last block, in whatever way it is wide. */
function planMirrorBlock(facts: ModelFacts): HeadBlock {
  const last = facts.blockCount - 1;
  const tensors: StageTensor[] = [];
  for (const tensor of facts.tensors.values()) {
    const place = placeTensor(tensor.name);
    if (place.kind !== "block" || place.block !== last) continue;
    const name = blockTensorName(0, place.suffix);
    const isNorm = roleOf(tensor.name) === "norm" && place.suffix.endsWith(".weight");
    const isVector = tensor.dims.length === 1;
    tensors.push(isNorm || isVector ? filledVector(name, tensor.dims, isNorm ? 1 : 0) : zeroMatrix(name, tensor.dims));
  }
  return { metadata: sliceLayers(facts, { first: last, end: last + 1 }), tensors };
}

function minimalShape(embd: number): BlockShape {
  return { embd, heads: 1, kvHeads: 1, headSize: MINIMAL_WIDTH, ff: MINIMAL_WIDTH, experts: 0 };
}

function shapeMetadata(shape: BlockShape): [string, GgufValue][] {
  return [
    ["block_count", uint32(1)],
    ["feed_forward_length", uint32(shape.ff)],
    ["attention.head_count", uint32(shape.heads)],
    ["attention.head_count_kv", uint32(shape.kvHeads)],
  ];
}

function headSizeMetadata(shape: BlockShape): [string, GgufValue][] {
  return [
    ["attention.key_length", uint32(shape.headSize)],
    ["attention.value_length", uint32(shape.headSize)],
    ["rope.dimension_count", uint32(shape.headSize)],
  ];
}

function fillBlock(weights: readonly WeightSpec[]): StageTensor[] {
  return weights.map(({ name, dims, kind }) => {
    const stageName = blockTensorName(0, name);
    if (kind === "matrix") return zeroMatrix(stageName, dims);
    return filledVector(stageName, dims, kind === "norm" ? 1 : 0);
  });
}

function requireValue(facts: ModelFacts, key: string): GgufValue {
  const value = facts.metadata.get(`${facts.architecture}.${key}`);
  if (value !== undefined) return value;
  throw new NoodleError("GGUF_MALFORMED", `metadata key "${facts.architecture}.${key}" is missing`);
}
