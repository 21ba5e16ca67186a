import { writeGguf, type WrittenGguf } from "../../gguf/index.ts";
import { compileDummyOptions, type DummyOptions } from "./options.ts";
import { planDummy } from "./plan.ts";
import { generateWeight } from "./weight-data.ts";

export interface GenerateDummyControl {
  readonly onProgress?: (writtenBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Writes a model of random weights with a working tokenizer: what it says is nonsense, what it costs is not. The same
 * options give the same bytes on every little-endian machine.
 *
 * @throws NoodleError `USAGE` naming option and limit; `MODEL_UNSUPPORTED`; otherwise as `writeGguf`
 */
export async function generateDummy(
  options: DummyOptions,
  path: string,
  control: GenerateDummyControl = {},
): Promise<WrittenGguf> {
  const compiled = compileDummyOptions(options);
  const { metadata, tensors } = planDummy(compiled);
  return writeGguf(path, {
    metadata,
    tensors: tensors.map((tensor) => ({
      name: tensor.name,
      dims: tensor.dims,
      type: tensor.type,
      data: () => generatePieces(generateWeight(tensor, compiled.seed)),
    })),
    ...control,
  });
}

async function* generatePieces(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}
