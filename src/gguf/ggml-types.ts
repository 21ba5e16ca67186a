import { NoodleError } from "../common/index.ts";
import type { GgmlType } from "./types.ts";

/**
 * The tensor types of the pinned llama.cpp release.
 * @see ggml/include/ggml.h `enum ggml_type` and ggml/src/ggml-common.h (llama.cpp de3ff81)
 */
export const GGML_TYPES: readonly GgmlType[] = [
  defineType(0, "f32", 1, 4),
  defineType(1, "f16", 1, 2),
  defineType(2, "q4_0", 32, 18),
  defineType(3, "q4_1", 32, 20),
  defineType(6, "q5_0", 32, 22),
  defineType(7, "q5_1", 32, 24),
  defineType(8, "q8_0", 32, 34),
  defineType(9, "q8_1", 32, 36),
  defineType(10, "q2_k", 256, 84),
  defineType(11, "q3_k", 256, 110),
  defineType(12, "q4_k", 256, 144),
  defineType(13, "q5_k", 256, 176),
  defineType(14, "q6_k", 256, 210),
  defineType(15, "q8_k", 256, 292),
  defineType(16, "iq2_xxs", 256, 66),
  defineType(17, "iq2_xs", 256, 74),
  defineType(18, "iq3_xxs", 256, 98),
  defineType(19, "iq1_s", 256, 50),
  defineType(20, "iq4_nl", 32, 18),
  defineType(21, "iq3_s", 256, 110),
  defineType(22, "iq2_s", 256, 82),
  defineType(23, "iq4_xs", 256, 136),
  defineType(24, "i8", 1, 1),
  defineType(25, "i16", 1, 2),
  defineType(26, "i32", 1, 4),
  defineType(27, "i64", 1, 8),
  defineType(28, "f64", 1, 8),
  defineType(29, "iq1_m", 256, 56),
  defineType(30, "bf16", 1, 2),
  defineType(34, "tq1_0", 256, 54),
  defineType(35, "tq2_0", 256, 66),
  defineType(39, "mxfp4", 32, 17),
  defineType(40, "nvfp4", 64, 36),
  defineType(41, "q1_0", 128, 18),
  defineType(42, "q2_0", 64, 18),
];

/** Types that older files may hold and the pinned release no longer reads, with what took their place. */
const REMOVED_TYPES: ReadonlyMap<number, string> = new Map([
  [4, "q4_2, dropped before the format was fixed"],
  [5, "q4_3, dropped before the format was fixed"],
  [31, "q4_0_4_4, use q4_0, which the engine repacks when it loads"],
  [32, "q4_0_4_8, use q4_0, which the engine repacks when it loads"],
  [33, "q4_0_8_8, use q4_0, which the engine repacks when it loads"],
  [36, "iq4_nl_4_4, use iq4_nl, which the engine repacks when it loads"],
  [37, "iq4_nl_4_8, use iq4_nl, which the engine repacks when it loads"],
  [38, "iq4_nl_8_8, use iq4_nl, which the engine repacks when it loads"],
]);

const TYPES_BY_ID: ReadonlyMap<number, GgmlType> = new Map(GGML_TYPES.map((type) => [type.id, type]));
const TYPES_BY_NAME: ReadonlyMap<string, GgmlType> = new Map(GGML_TYPES.map((type) => [type.name, type]));

function defineType(id: number, name: string, blockElements: number, blockBytes: number): GgmlType {
  return Object.freeze({ id, name, blockElements, blockBytes });
}

/** @throws NoodleError `GGUF_UNSUPPORTED` for a number that the pinned release does not know, or no longer knows. */
export function ggmlTypeById(id: number): GgmlType {
  const type = TYPES_BY_ID.get(id);
  if (type !== undefined) return type;
  const removed = REMOVED_TYPES.get(id);
  throw new NoodleError(
    "GGUF_UNSUPPORTED",
    removed === undefined ? `tensor type ${id} is not known` : `tensor type ${id} was removed: ${removed}`,
    { details: { typeId: id } },
  );
}

/** @param name in any case: `q4_K` and `Q4_K` are `q4_k`. @throws NoodleError `GGUF_UNSUPPORTED` */
export function ggmlTypeByName(name: string): GgmlType {
  const type = TYPES_BY_NAME.get(name.toLowerCase());
  if (type !== undefined) return type;
  throw new NoodleError("GGUF_UNSUPPORTED", `tensor type "${name}" is not known`, { details: { typeName: name } });
}

/**
 * Size of a tensor's data without padding. Rows (the innermost dimension) are whole numbers of blocks.
 *
 * @param dims innermost first; none means one element
 * @throws NoodleError `GGUF_MALFORMED` for a dimension below 1, a row that is no multiple of the block, or a size
 *   that no file can have (2^53 bytes and more).
 */
export function tensorBytes(type: GgmlType, dims: readonly number[], what = "tensor"): number {
  const rowElements = dims[0] ?? 1;
  let bytes = (rowElements / type.blockElements) * type.blockBytes;
  for (const [index, dim] of dims.entries()) {
    if (!Number.isSafeInteger(dim) || dim < 1) {
      throw malformedShape(what, dims, `dimension ${index} is ${dim}, must be a whole number from 1`);
    }
    if (index > 0) bytes *= dim;
  }
  if (rowElements % type.blockElements !== 0) {
    throw malformedShape(
      what,
      dims,
      `rows of ${rowElements} are no multiple of the ${type.blockElements} of ${type.name}`,
    );
  }
  // Every factor is a whole number from 1, so a product that went past 2^53 never comes back below it.
  if (!Number.isSafeInteger(bytes)) throw malformedShape(what, dims, `as ${type.name} it has more than 2^53 bytes`);
  return bytes;
}

function malformedShape(what: string, dims: readonly number[], problem: string): NoodleError {
  return new NoodleError("GGUF_MALFORMED", `${what} [${dims.join(", ")}]: ${problem}`, { details: { dims } });
}
