import { must, NoodleError } from "../common/index.ts";
import { type GgufHeader, type GgufMetadata, type GgufValue, getArray, getNumber, getString } from "../gguf/index.ts";
import { array, float32, text, uint32 } from "./architectures/index.ts";
import type { ModelHashes } from "./model-hashes.ts";
import type { StageRecipe } from "./stage-recipe.ts";
import type { UnitRange } from "./units.ts";

/** What the manifest's keys mean. A reader refuses any other. */
const MANIFEST_VERSION = 1;

const KEYS = {
  version: "noodle.stage.version",
  architecture: "noodle.stage.architecture",
  firstUnit: "noodle.stage.first_unit",
  endUnit: "noodle.stage.end_unit",
  unitCount: "noodle.stage.unit_count",
  embeddingScale: "noodle.stage.embedding_scale",
  tensorNames: "noodle.stage.tensor_names",
  tensorSources: "noodle.stage.tensor_sources",
  tensorSha256: "noodle.stage.tensor_sha256",
  sourceSha256: "noodle.source.sha256",
  headerSha256: "noodle.source.header_sha256",
  sourceBytes: "noodle.source.bytes",
} as const;

/** A tensor whose data came unchanged from the source. */
export interface StageManifestTensor {
  /** In the stage. */
  readonly name: string;
  /** In the source. */
  readonly source: string;
  /** Hex, over the data. */
  readonly sha256: string;
}

/** What a stage file says of itself in its metadata. */
export interface StageManifest {
  /** Of the source. `general.architecture` of a stage with only the head may be another. */
  readonly architecture: string;
  readonly units: UnitRange;
  readonly unitCount: number;
  /** What embedding rows are multiplied by, a float32; null for 1 and for stages without the embedding. */
  readonly embeddingScale: number | null;
  readonly sourceSha256: string;
  readonly headerSha256: string;
  readonly sourceBytes: number;
  readonly tensors: readonly StageManifestTensor[];
}

/** The recipe's metadata with the manifest behind them. A manifest of the source, itself a stage, is replaced. */
export function withManifest(recipe: StageRecipe, hashes: ModelHashes): GgufMetadata {
  const metadata = new Map<string, GgufValue>([...recipe.metadata].filter(([key]) => !key.startsWith("noodle.")));
  const tensors = listCopied(recipe, hashes);
  metadata.set(KEYS.version, uint32(MANIFEST_VERSION));
  metadata.set(KEYS.architecture, text(recipe.architecture));
  metadata.set(KEYS.firstUnit, uint32(recipe.units.first));
  metadata.set(KEYS.endUnit, uint32(recipe.units.end));
  metadata.set(KEYS.unitCount, uint32(recipe.unitCount));
  if (recipe.embeddingScale !== null) metadata.set(KEYS.embeddingScale, float32(recipe.embeddingScale));
  metadata.set(KEYS.sourceSha256, text(hashes.sourceSha256));
  metadata.set(KEYS.headerSha256, text(hashes.headerSha256));
  metadata.set(KEYS.sourceBytes, { type: "uint64", value: BigInt(hashes.sourceBytes) });
  metadata.set(KEYS.tensorNames, textArray(tensors.map((tensor) => tensor.name)));
  metadata.set(KEYS.tensorSources, textArray(tensors.map((tensor) => tensor.source)));
  metadata.set(KEYS.tensorSha256, textArray(tensors.map((tensor) => tensor.sha256)));
  return metadata;
}

/**
 * The manifest of a stage file, or null for a file that has none (a model as it was downloaded).
 *
 * @throws NoodleError `GGUF_UNSUPPORTED` for a manifest of another version, `GGUF_MALFORMED` for an incomplete one
 */
export function readStageManifest(header: GgufHeader): StageManifest | null {
  const { metadata } = header;
  const version = getNumber(metadata, KEYS.version);
  if (version === undefined) return null;
  if (version !== MANIFEST_VERSION) {
    throw new NoodleError("GGUF_UNSUPPORTED", `stage manifest of version ${version}, known is ${MANIFEST_VERSION}`);
  }
  return {
    architecture: requirePart(getString(metadata, KEYS.architecture), KEYS.architecture),
    units: {
      first: requirePart(getNumber(metadata, KEYS.firstUnit), KEYS.firstUnit),
      end: requirePart(getNumber(metadata, KEYS.endUnit), KEYS.endUnit),
    },
    unitCount: requirePart(getNumber(metadata, KEYS.unitCount), KEYS.unitCount),
    embeddingScale: getNumber(metadata, KEYS.embeddingScale) ?? null,
    sourceSha256: requirePart(getString(metadata, KEYS.sourceSha256), KEYS.sourceSha256),
    headerSha256: requirePart(getString(metadata, KEYS.headerSha256), KEYS.headerSha256),
    sourceBytes: requirePart(getNumber(metadata, KEYS.sourceBytes), KEYS.sourceBytes),
    tensors: readTensors(metadata),
  };
}

function listCopied(recipe: StageRecipe, hashes: ModelHashes): StageManifestTensor[] {
  const known = new Map(hashes.tensors.map(({ name, sha256 }) => [name, sha256]));
  return recipe.tensors.flatMap(({ name, source }) =>
    source.kind === "copy"
      ? [{ name, source: source.tensor, sha256: must(known.get(source.tensor), `hash of ${source.tensor}`) }]
      : [],
  );
}

function readTensors(metadata: GgufMetadata): StageManifestTensor[] {
  const sources = readTexts(metadata, KEYS.tensorSources);
  const hashes = readTexts(metadata, KEYS.tensorSha256);
  return readTexts(metadata, KEYS.tensorNames).map((name, index) => ({
    name,
    source: requirePart(sources[index], KEYS.tensorSources),
    sha256: requirePart(hashes[index], KEYS.tensorSha256),
  }));
}

function readTexts(metadata: GgufMetadata, key: string): string[] {
  return requirePart(getArray(metadata, key), key).map(String);
}

function textArray(items: readonly string[]): GgufValue {
  return array("string", items);
}

function requirePart<T>(value: T | undefined, key: string): T {
  if (value !== undefined) return value;
  throw new NoodleError("GGUF_MALFORMED", `the stage's manifest lacks "${key}" or an item of it`, { details: { key } });
}
