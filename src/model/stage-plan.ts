import { NoodleError } from "../common/index.ts";
import { type GgufHeader, type GgufMetadata, type GgufTensor, type GgufValue, tensorBytes } from "../gguf/index.ts";
import type { CutSpec } from "./architectures/index.ts";
import { checkStage, listCuts, readStageLimits } from "./cuts.ts";
import { type ModelFacts, readFacts } from "./facts.ts";
import { filledVector, idleZeros } from "./fill.ts";
import { planHeadBlock } from "./head-block.ts";
import { applyLaterStageEdits, planStageMetadata, sliceLayers, unshardedMetadata } from "./stage-metadata.ts";
import type { StageRecipe, StageTensor } from "./stage-recipe.ts";
import { requireSpec } from "./support.ts";
import {
  blockTensorName,
  OUTPUT,
  OUTPUT_NORM,
  OUTPUT_NORM_BIAS,
  placeTensor,
  POSITION_EMBEDDING,
  TOKEN_EMBEDDING,
} from "./tensor-place.ts";
import { blocksOf, countUnits, formatRange, hasEmbedding, hasHead, type UnitRange } from "./units.ts";

export interface PlanStageOptions {
  /** Use the general recipe for an architecture without a verified one; verify the stages before use. @default false */
  readonly allowUnverified?: boolean;
}

/**
 * Says what a stage file holds. Pure.
 *
 * @throws NoodleError `MODEL_UNSUPPORTED`, `MODEL_UNVERIFIED`; `CUT_OUT_OF_RANGE`; `CUT_ILLEGAL` naming the nearest
 *   legal cuts; `GGUF_MALFORMED` for a model that lacks what its architecture requires
 */
export function planStage(header: GgufHeader, range: UnitRange, options: PlanStageOptions = {}): StageRecipe {
  const facts = readFacts(header);
  const unitCount = countUnits(facts.blockCount);
  checkRange(range, unitCount);
  if (range.first === 0 && range.end === unitCount) return planWhole(facts, range);
  const spec = requireSpec(facts, options.allowUnverified ?? false);
  checkStage(range, { ...listCuts(facts), ...readStageLimits(facts) });
  const { metadata, tensors } = planParts(facts, spec, range);
  const embeddingScale = hasEmbedding(range) ? (spec.embeddingScale?.(facts) ?? null) : null;
  return finishRecipe(facts, range, metadata, tensors, embeddingScale);
}

function planParts(
  facts: ModelFacts,
  spec: CutSpec,
  range: UnitRange,
): { metadata: GgufMetadata; tensors: readonly StageTensor[] } {
  const blocks = blocksOf(range, facts.blockCount);
  if (blocks.first === blocks.end) {
    return hasHead(range, facts.blockCount) ? planHeadOnly(facts, spec, range) : planEmbeddingOnly(facts);
  }
  const tensors = [
    ...planEmbedding(facts, spec, range),
    ...copyPlaced(facts, "shared"),
    ...copyBlocks(facts, blocks.first, blocks.end),
    ...planHead(facts, spec, range),
  ];
  return { metadata: planStageMetadata(facts, spec, range), tensors };
}

/** Unchanged, but for the keys that tell the shards of a file. */
function planWhole(facts: ModelFacts, range: UnitRange): StageRecipe {
  return finishRecipe(
    facts,
    range,
    unshardedMetadata(facts.metadata),
    [...facts.tensors.values()].map(copyTensor),
    null,
  );
}

/** No engine loads this file: its rows are looked up. It keeps the tokenizer. */
function planEmbeddingOnly(facts: ModelFacts): { metadata: GgufMetadata; tensors: readonly StageTensor[] } {
  const metadata = sliceLayers(facts, { first: 0, end: 0 });
  return { metadata, tensors: copyPlaced(facts, "embedding") };
}

function planHeadOnly(
  facts: ModelFacts,
  spec: CutSpec,
  range: UnitRange,
): { metadata: GgufMetadata; tensors: readonly StageTensor[] } {
  const block = planHeadBlock(facts, spec);
  const metadata = new Map<string, GgufValue>(block.metadata);
  applyLaterStageEdits(metadata, facts, spec);
  const tensors = [...planEmbedding(facts, spec, range), ...block.tensors, ...planHead(facts, spec, range)];
  return { metadata, tensors };
}

/**
 * Rows to look tokens up in. Stages behind the embedding get hidden states instead and never read them, but the engine
 * wants a row for each token of the vocabulary, which is one nameless token unless the stage has the head.
 */
function planEmbedding(facts: ModelFacts, spec: CutSpec, range: UnitRange): StageTensor[] {
  if (hasEmbedding(range)) return copyPlaced(facts, "embedding");
  const source = requireTensor(facts, TOKEN_EMBEDDING);
  const withHead = hasHead(range, facts.blockCount);
  const tensors: StageTensor[] = [];
  if (withHead && spec.output === "tied") tensors.push(copyTensor(source));
  else tensors.push(idleZeros(TOKEN_EMBEDDING, [facts.embeddingLength, withHead ? countRows(source) : 1]));
  if (spec.positionEmbedding) {
    tensors.push(idleZeros(POSITION_EMBEDDING, requireTensor(facts, POSITION_EMBEDDING).dims));
  }
  return tensors;
}

/**
 * Norm and output matrix. Behind a stage without the head the engine's graph has them too, though nobody waits for their
 * result; left out, the engine would load the token embedding a second time as the output matrix.
 */
function planHead(facts: ModelFacts, spec: CutSpec, range: UnitRange): StageTensor[] {
  const source = requireTensor(facts, TOKEN_EMBEDDING);
  if (hasHead(range, facts.blockCount)) {
    const tensors = copyPlaced(facts, "head");
    const needsOwnMatrix = !facts.tensors.has(OUTPUT) && !hasEmbedding(range) && spec.output !== "tied";
    return needsOwnMatrix ? [...tensors, { ...copyTensor(source), name: OUTPUT }] : tensors;
  }
  const tensors: StageTensor[] = [];
  if (facts.tensors.has(OUTPUT_NORM)) tensors.push(filledVector(OUTPUT_NORM, [facts.embeddingLength], 1));
  if (spec.outputNormBias) tensors.push(filledVector(OUTPUT_NORM_BIAS, [facts.embeddingLength], 0));
  if (spec.output !== "tied") {
    tensors.push(idleZeros(OUTPUT, [facts.embeddingLength, hasEmbedding(range) ? countRows(source) : 1]));
  }
  return tensors;
}

function copyPlaced(facts: ModelFacts, kind: "embedding" | "shared" | "head"): StageTensor[] {
  return [...facts.tensors.values()].filter(({ name }) => placeTensor(name).kind === kind).map(copyTensor);
}

function copyBlocks(facts: ModelFacts, first: number, end: number): StageTensor[] {
  const tensors: StageTensor[] = [];
  for (const tensor of facts.tensors.values()) {
    const place = placeTensor(tensor.name);
    if (place.kind !== "block" || place.block < first || place.block >= end) continue;
    tensors.push({ ...copyTensor(tensor), name: blockTensorName(place.block - first, place.suffix) });
  }
  return tensors;
}

function copyTensor({ name, dims, type }: GgufTensor): StageTensor {
  return { name, dims, type, source: { kind: "copy", tensor: name } };
}

function finishRecipe(
  facts: ModelFacts,
  units: UnitRange,
  metadata: GgufMetadata,
  tensors: readonly StageTensor[],
  embeddingScale: number | null,
): StageRecipe {
  const weightsBytes = tensors.reduce((sum, { type, dims, name }) => sum + tensorBytes(type, dims, name), 0);
  const unitCount = countUnits(facts.blockCount);
  return { architecture: facts.architecture, units, unitCount, metadata, tensors, embeddingScale, weightsBytes };
}

function checkRange(range: UnitRange, unitCount: number): void {
  const { first, end } = range;
  const isRange = Number.isSafeInteger(first) && Number.isSafeInteger(end) && 0 <= first && first < end;
  if (isRange && end <= unitCount) return;
  throw new NoodleError("CUT_OUT_OF_RANGE", `units ${formatRange(range)}: the model has the units 0:${unitCount}`, {
    details: { first, end, unitCount },
  });
}

function countRows(tensor: GgufTensor): number {
  return tensor.dims[1] ?? 1;
}

function requireTensor(facts: ModelFacts, name: string): GgufTensor {
  const tensor = facts.tensors.get(name);
  if (tensor !== undefined) return tensor;
  throw new NoodleError("GGUF_MALFORMED", `tensor "${name}" is missing`, { details: { tensor: name } });
}
