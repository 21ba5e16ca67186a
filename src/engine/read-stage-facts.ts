import { NoodleError } from "../common/index.ts";
import { type GgufHeader, getNumber, getString } from "../gguf/index.ts";
import { describeModel, listSlidingBlocks, readStageManifest } from "../model/index.ts";
import type { StageFacts } from "./stage-facts.ts";

/** What the stage of unit 0 alone looks up. */
const EMBEDDING_TENSORS = ["token_embd.weight", "position_embd.weight"];

/**
 * What the header of a stage file, or of an undivided model, says to an engine. Pure.
 *
 * @throws NoodleError `MODEL_UNSUPPORTED` for a file without blocks or width, `GGUF_MALFORMED`
 */
export function readStageFacts(header: GgufHeader, fileBytes: number): StageFacts {
  const manifest = readStageManifest(header);
  const file = describeModel(header, fileBytes);
  const fileArchitecture = getString(header.metadata, "general.architecture") ?? "";
  const unitCount = manifest?.unitCount ?? file.blockCount + 2;
  const units = manifest?.units ?? { first: 0, end: unitCount };
  const blockEnd = Math.min(units.end, unitCount - 1);
  const blocks = range(Math.max(units.first, 1) - 1, blockEnd - 1);
  const hasEmbedding = units.first === 0;
  const hasHead = units.end === unitCount;
  const nEmbd = getNumber(header.metadata, `${fileArchitecture}.embedding_length`) ?? 0;
  if (nEmbd < 1)
    throw new NoodleError("MODEL_UNSUPPORTED", `the file does not say its ${fileArchitecture}.embedding_length`);
  const sliding = listSlidingBlocks(header);
  const dense = sliding === null ? blocks : blocks.filter((_, i) => sliding[i] !== true);
  const windowed = sliding === null ? [] : blocks.filter((_, i) => sliding[i] === true);
  return {
    embeddingTensors: header.tensors.filter(({ name }) => EMBEDDING_TENSORS.includes(name)),
    architecture: manifest?.architecture ?? file.architecture,
    units,
    unitCount,
    nEmbd,
    contextLength: file.contextLength,
    hasEmbedding,
    hasHead,
    headOnly: hasHead && blocks.length === 0 && !hasEmbedding,
    endsBlocks: units.end >= unitCount - 1,
    fileBlocks: file.blockCount,
    blocks,
    embeddingScale: manifest?.embeddingScale ?? null,
    kvBytesPerToken: blocks.length === 0 ? 0 : file.units.reduce((sum, unit) => sum + unit.kvBytesPerToken, 0),
    cacheLayers: windowed.length === 0 ? [blocks.length] : [dense.length, windowed.length],
    cacheBlocks: [...dense, ...windowed],
  };
}

function range(first: number, end: number): number[] {
  return Array.from({ length: Math.max(0, end - first) }, (_, i) => first + i);
}
