import { must, NoodleError } from "../common/index.ts";
import { type GgmlType, ggmlTypeByName } from "../gguf/index.ts";
import type { StageTensor } from "./stage-recipe.ts";

/** Types whose all-zero bytes mean zeros, smallest first. The engine reads rows of all of them on every CPU. */
const ZERO_TYPE_NAMES = ["q1_0", "q2_0", "q4_0", "f16"];

/** Zeros that are loaded but never computed with: the smallest type that divides the rows. */
export function idleZeros(name: string, dims: readonly number[]): StageTensor {
  const rowElements = must(dims[0], "dimension of a matrix");
  const type = ZERO_TYPE_NAMES.map(ggmlTypeByName).find((candidate) => rowElements % candidate.blockElements === 0);
  return { name, dims, type: must(type, "type of zeros"), source: { kind: "fill", value: 0 } };
}

/** A matrix of zeros that is multiplied with: of a type with fast kernels everywhere. */
export function zeroMatrix(name: string, dims: readonly number[]): StageTensor {
  const type = ggmlTypeByName((dims[0] ?? 1) % 32 === 0 ? "q4_0" : "f16");
  return { name, dims, type, source: { kind: "fill", value: 0 } };
}

export function filledVector(name: string, dims: readonly number[], value: 0 | 1): StageTensor {
  return { name, dims, type: ggmlTypeByName("f32"), source: { kind: "fill", value } };
}

const FILL_CHUNK_BYTES = 1024 * 1024;

/** The bytes of a filled tensor, in pieces. The pieces share memory: use each before asking for the next. */
export function* generateFill(type: GgmlType, value: 0 | 1, bytes: number): Generator<Uint8Array> {
  const chunk = Buffer.alloc(Math.min(FILL_CHUNK_BYTES, bytes));
  if (value === 1) {
    if (type.name !== "f32") throw new NoodleError("INTERNAL", `ones are made in f32 only, not in ${type.name}`);
    for (let offset = 0; offset < chunk.length; offset += 4) chunk.writeFloatLE(1, offset);
  }
  for (let done = 0; done < bytes; done += chunk.length) yield chunk.subarray(0, Math.min(chunk.length, bytes - done));
}
