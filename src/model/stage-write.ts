import { createHash } from "node:crypto";
import { must, NoodleError } from "../common/index.ts";
import {
  type GgufHeader,
  type GgufTensor,
  type GgufTensorInput,
  tensorBytes,
  writeGguf,
  type WrittenGguf,
} from "../gguf/index.ts";
import { readFacts } from "./facts.ts";
import { generateFill } from "./fill.ts";
import type { ModelHashes } from "./model-hashes.ts";
import { withManifest } from "./stage-manifest.ts";
import { planStage, type PlanStageOptions } from "./stage-plan.ts";
import type { StageTensor } from "./stage-recipe.ts";
import type { StageSource } from "./stage-source.ts";
import type { UnitRange } from "./units.ts";

export interface WriteStageOptions extends PlanStageOptions {
  /** Of the source; every copied tensor is checked against it. */
  readonly hashes: ModelHashes;
  readonly onProgress?: (writtenBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Writes a stage file, with its manifest, to `path`. The same source and range give the same bytes wherever they are
 * written. Whatever goes wrong, `path` is as it was.
 *
 * @param header of the source
 * @throws NoodleError `STAGE_CORRUPT` when a tensor's data are not those that the hashes tell; otherwise as `planStage`,
 *   `writeGguf` and the source
 */
export async function writeStage(
  source: StageSource,
  header: GgufHeader,
  range: UnitRange,
  path: string,
  options: WriteStageOptions,
): Promise<WrittenGguf> {
  const recipe = planStage(header, range, options);
  const sourceTensors = readFacts(header).tensors;
  const hashes = new Map(options.hashes.tensors.map(({ name, sha256 }) => [name, sha256]));
  return writeGguf(path, {
    metadata: withManifest(recipe, options.hashes),
    tensors: recipe.tensors.map((tensor) => inputOf(tensor, source, sourceTensors, hashes)),
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}

function inputOf(
  tensor: StageTensor,
  source: StageSource,
  sourceTensors: ReadonlyMap<string, GgufTensor>,
  hashes: ReadonlyMap<string, string>,
): GgufTensorInput {
  const { name, dims, type } = tensor;
  if (tensor.source.kind === "fill") {
    const { value } = tensor.source;
    const bytes = tensorBytes(type, dims, name);
    return { name, dims, type, data: () => asAsync(generateFill(type, value, bytes)) };
  }
  const from = must(sourceTensors.get(tensor.source.tensor), tensor.source.tensor);
  const sha256 = must(hashes.get(from.name), `hash of ${from.name}`);
  return { name, dims, type, data: () => checked(source.streamTensor(from), from, sha256) };
}

async function* asAsync(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

/** Passes the data on and compares them with the hash at their end, before the file gets its name. */
async function* checked(
  pieces: AsyncIterable<Uint8Array>,
  tensor: GgufTensor,
  expectedSha256: string,
): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  for await (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
  const sha256 = hash.digest("hex");
  if (sha256 === expectedSha256) return;
  throw new NoodleError("STAGE_CORRUPT", `tensor "${tensor.name}" has SHA-256 ${sha256}, expected ${expectedSha256}`, {
    details: { tensor: tensor.name, sha256, expectedSha256 },
  });
}
