import { must } from "../common/index.ts";
import { getNumber, type GgufMetadata, type GgufValue } from "../gguf/index.ts";
import { array, type CutSpec, text, uint32 } from "./architectures/index.ts";
import type { ModelFacts } from "./facts.ts";
import { readSlidingLayers } from "./sliding.ts";
import { type BlockRange, blocksOf, hasEmbedding, hasHead, type UnitRange } from "./units.ts";

/** Arrays that may have as many items as there are blocks and yet have none for each. */
const NOT_PER_LAYER = ["rope.dimension_sections"];

/** Layers counted from the first: a stage that begins behind them has none of them. */
export const LEADING_LAYERS_KEY = "leading_dense_block_count";

/** Everything of the source but what only makes sense there: the shard of a sharded file. */
export function unshardedMetadata(metadata: GgufMetadata): Map<string, GgufValue> {
  return new Map([...metadata].filter(([key]) => !key.startsWith("split.")));
}

/**
 * The metadata of a file with only these blocks: their number, the arrays with one item for each, and what is counted
 * from the first block.
 */
export function sliceLayers(facts: ModelFacts, blocks: BlockRange): Map<string, GgufValue> {
  const indices = Array.from({ length: blocks.end - blocks.first }, (_, i) => blocks.first + i);
  const metadata = pickLayers(facts, indices);
  const leadingKey = `${facts.architecture}.${LEADING_LAYERS_KEY}`;
  const leadingLayers = getNumber(metadata, leadingKey);
  if (leadingLayers !== undefined) metadata.set(leadingKey, uint32(Math.max(0, leadingLayers - blocks.first)));
  return metadata;
}

/** As `sliceLayers`, for blocks that need not follow one another; what is counted from the first block stays as it was. */
export function pickLayers(facts: ModelFacts, blocks: readonly number[]): Map<string, GgufValue> {
  const { architecture, blockCount } = facts;
  const metadata = unshardedMetadata(facts.metadata);
  for (const [key, entry] of metadata) {
    if (!key.startsWith(`${architecture}.`) || entry.type !== "array" || entry.value.length !== blockCount) continue;
    if (NOT_PER_LAYER.includes(key.slice(architecture.length + 1))) continue;
    metadata.set(key, { ...entry, value: blocks.map((block) => must(entry.value[block], `${key} of block ${block}`)) });
  }
  metadata.set(`${architecture}.block_count`, uint32(blocks.length));
  return metadata;
}

/** The metadata of a stage with blocks. */
export function planStageMetadata(facts: ModelFacts, spec: CutSpec, range: UnitRange): Map<string, GgufValue> {
  const blocks = blocksOf(range, facts.blockCount);
  const metadata = sliceLayers(facts, blocks);
  writeSlidingLayers(metadata, facts, spec, blocks);
  if (!hasEmbedding(range)) applyLaterStageEdits(metadata, facts, spec);
  if (!hasEmbedding(range) && !hasHead(range, facts.blockCount)) dropVocabulary(metadata, facts.architecture);
  return metadata;
}

export function applyLaterStageEdits(metadata: Map<string, GgufValue>, facts: ModelFacts, spec: CutSpec): void {
  for (const [key, value] of spec.laterStageMetadata ?? []) {
    if (value === null) metadata.delete(`${facts.architecture}.${key}`);
    else metadata.set(`${facts.architecture}.${key}`, value);
  }
}

/**
 * A pattern given as a period, or left to the architecture's habit, would begin anew with the stage: each layer says for
 * itself. The engine fails on a window that no layer uses.
 */
function writeSlidingLayers(
  metadata: Map<string, GgufValue>,
  facts: ModelFacts,
  spec: CutSpec,
  blocks: BlockRange,
): void {
  const layers = readSlidingLayers(facts, spec)?.slice(blocks.first, blocks.end);
  if (layers === undefined) return;
  const windowKey = `${facts.architecture}.attention.sliding_window`;
  if (layers.includes(true)) {
    metadata.set(`${windowKey}_pattern`, array("bool", layers));
  } else {
    metadata.delete(windowKey);
    metadata.delete(`${windowKey}_pattern`);
  }
}

/** A stage that neither takes nor gives tokens has a vocabulary of one nameless token. */
function dropVocabulary(metadata: Map<string, GgufValue>, architecture: string): void {
  for (const key of metadata.keys()) {
    if (key.startsWith("tokenizer.")) metadata.delete(key);
  }
  metadata.set("tokenizer.ggml.model", text("no_vocab"));
  metadata.set(`${architecture}.vocab_size`, uint32(1));
}
