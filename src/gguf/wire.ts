import type { GgufScalarType } from "./types.ts";

/**
 * Numbers of the format, version 3. Version 1 has 32-bit counts, lengths and dimensions; version 2 widened them;
 * version 3 allowed the other byte order.
 *
 * @see ggml/include/gguf.h (llama.cpp de3ff81)
 */

export const MAGIC = "GGUF";
export const LATEST_VERSION = 3;
export type GgufVersion = 1 | 2 | 3;
export type ByteOrder = "little" | "big";

/** Magic and version. */
export const PREAMBLE_BYTES = 8;

export const ALIGNMENT_KEY = "general.alignment";
export const SPLIT_NO_KEY = "split.no";
export const SPLIT_COUNT_KEY = "split.count";
export const SPLIT_TENSORS_KEY = "split.tensors.count";

/** Value type of an array; its items' type follows. */
export const ARRAY_TYPE_ID = 9;

/** Number of a value type and the bytes that one value takes at least (a string's length field). */
interface ScalarTypeRow {
  readonly id: number;
  readonly bytes: number;
}

export const SCALAR_TYPES: Readonly<Record<GgufScalarType, ScalarTypeRow>> = {
  uint8: { id: 0, bytes: 1 },
  int8: { id: 1, bytes: 1 },
  uint16: { id: 2, bytes: 2 },
  int16: { id: 3, bytes: 2 },
  uint32: { id: 4, bytes: 4 },
  int32: { id: 5, bytes: 4 },
  float32: { id: 6, bytes: 4 },
  bool: { id: 7, bytes: 1 },
  string: { id: 8, bytes: 4 },
  uint64: { id: 10, bytes: 8 },
  int64: { id: 11, bytes: 8 },
  float64: { id: 12, bytes: 8 },
};

export const SCALAR_TYPES_BY_ID: ReadonlyMap<number, GgufScalarType> = new Map(
  (Object.keys(SCALAR_TYPES) as GgufScalarType[]).map((type) => [SCALAR_TYPES[type].id, type]),
);
