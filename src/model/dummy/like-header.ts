import { must } from "../../common/index.ts";
import {
  encodeGgufHeader,
  type GgufHeader,
  type GgufTensorInput,
  type GgufValue,
  getNumber,
  parseGgufHeader,
  tensorBytes,
  writeGguf,
  type WrittenGguf,
} from "../../gguf/index.ts";
import { array, uint32, type WeightKind } from "../architectures/index.ts";
import { type ModelFacts, readFacts } from "../facts.ts";
import { generateFill } from "../fill.ts";
import { readSlidingLayers } from "../sliding.ts";
import { LEADING_LAYERS_KEY, pickLayers } from "../stage-metadata.ts";
import { withManifest } from "../stage-manifest.ts";
import { planStage } from "../stage-plan.ts";
import type { StageTensor } from "../stage-recipe.ts";
import { findSupport } from "../support.ts";
import { blockTensorName, placeTensor } from "../tensor-place.ts";
import type { UnitRange } from "../units.ts";
import type { GenerateDummyControl } from "./generate.ts";
import { generateWeight, WEIGHT_TYPE_NAMES } from "./weight-data.ts";

/**
 * The header of a model like the given one with only some of its blocks, in the given order, numbered from 0: the same
 * shapes, types, windows and vocabulary. Nothing of the source's weights is needed.
 *
 * @param blocks indices of the source's blocks; at least one
 */
export function pickBlocks(header: GgufHeader, blocks: readonly number[]): GgufHeader {
  const facts = readFacts(header);
  const metadata = pickLayers(facts, blocks);
  const leadingKey = `${facts.architecture}.${LEADING_LAYERS_KEY}`;
  const leadingLayers = getNumber(facts.metadata, leadingKey);
  if (leadingLayers !== undefined) {
    metadata.set(leadingKey, uint32(blocks.filter((block) => block < leadingLayers).length));
  }
  pickSlidingLayers(metadata, facts, blocks);
  const tensors = header.tensors.flatMap(({ name, dims, type }) => {
    const place = placeTensor(name);
    if (place.kind !== "block") return [{ name, dims, type }];
    return blocks.flatMap((block, index) =>
      block === place.block ? [{ name: blockTensorName(index, place.suffix), dims, type }] : [],
    );
  });
  const { alignment } = header;
  const encoded = encodeGgufHeader({ version: 3, byteOrder: "little", alignment, metadata, tensors });
  return parseGgufHeader(encoded.header, encoded.header.length + encoded.dataBytes);
}

/** Each picked block says for itself whether it has a window; a window that none has must not be there. */
function pickSlidingLayers(metadata: Map<string, GgufValue>, facts: ModelFacts, blocks: readonly number[]): void {
  const support = findSupport(facts);
  const layers = support.level === "unsupported" ? null : readSlidingLayers(facts, support.spec);
  if (layers === null) return;
  const windowKey = `${facts.architecture}.attention.sliding_window`;
  const picked = blocks.map((block) => layers[block] === true);
  if (picked.includes(true)) {
    metadata.set(`${windowKey}_pattern`, array("bool", picked));
  } else {
    metadata.delete(windowKey);
    metadata.delete(`${windowKey}_pattern`);
  }
}

/**
 * Writes the stage file that `writeStage` would write of a model with this header, random values in place of the model's:
 * what it says is nonsense, what it costs is not. Its manifest has zeros where a source's hashes would stand. Types of
 * which no sane random values are known are filled with zeros.
 *
 * @param header as read from a file, or made by `pickBlocks` or `makeDummyHeader`
 * @throws as `planStage` (unverified architectures are taken) and `writeGguf`
 */
export async function writeSyntheticStage(
  header: GgufHeader,
  range: UnitRange,
  path: string,
  seed: number,
  control: GenerateDummyControl = {},
): Promise<WrittenGguf> {
  const recipe = planStage(header, range, { allowUnverified: true });
  const zeros = "0".repeat(64);
  const hashes = {
    sourceSha256: zeros,
    headerSha256: zeros,
    sourceBytes: 0,
    tensors: header.tensors.map(({ name }) => ({ name, sha256: zeros })),
  };
  return writeGguf(path, {
    metadata: withManifest(recipe, hashes),
    tensors: recipe.tensors.map((tensor) => inventTensor(tensor, seed)),
    ...control,
  });
}

function inventTensor(tensor: StageTensor, seed: number): GgufTensorInput {
  const { name, dims, type, source } = tensor;
  const bytes = tensorBytes(type, dims, name);
  const kind = guessKind(tensor);
  const isKnown = kind === "matrix" ? WEIGHT_TYPE_NAMES.includes(type.name) : type.name === "f32";
  const pieces =
    source.kind === "copy" && isKnown
      ? () => generateWeight({ name, dims, type, kind }, seed)
      : () => generateFill(type, source.kind === "fill" ? source.value : 0, bytes);
  return { name, dims, type, data: () => asAsync(pieces()) };
}

/** From the name: what is multiplied with must be near one, what is added near zero. */
function guessKind({ name, dims }: StageTensor): WeightKind {
  if (name.startsWith("rope_")) return "factors";
  if (dims.length > 1 && must(dims[1], "dimension") > 1) return "matrix";
  if (name.endsWith(".bias")) return "bias";
  return name.includes("norm") || name.includes("scale") ? "norm" : "bias";
}

async function* asAsync(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}
