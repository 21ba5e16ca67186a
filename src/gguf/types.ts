/** GGUF in memory: what a header says, with the wire types kept, so that a file can be written again byte for byte. */

export type GgufScalarType =
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "uint32"
  | "int32"
  | "float32"
  | "bool"
  | "string"
  | "uint64"
  | "int64"
  | "float64";

/** 64-bit integers are bigint; a float32 keeps its bits (NaN payloads excepted); strings are UTF-8 text. */
export type GgufScalar = number | bigint | boolean | string;

export type GgufValue =
  | { readonly type: GgufScalarType; readonly value: GgufScalar }
  | { readonly type: "array"; readonly itemType: GgufScalarType; readonly value: readonly GgufScalar[] };

/** Insertion order is file order. */
export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** A row of the table of ggml's tensor types. */
export interface GgmlType {
  /** Number in the file. */
  readonly id: number;
  /** Lower case, as llama.cpp prints it: `f32`, `q4_0`, `iq4_xs`. */
  readonly name: string;
  /** Elements in a block. */
  readonly blockElements: number;
  /** Bytes of a block. */
  readonly blockBytes: number;
}

export interface GgufTensor {
  readonly name: string;
  /** Innermost first, as in the file: `[nEmbd, nVocab]`. */
  readonly dims: readonly number[];
  readonly type: GgmlType;
  /** Size of the data without padding. */
  readonly bytes: number;
  /** Index of the shard that holds the data. */
  readonly shard: number;
  /** Absolute offset in the shard's file. May exceed 2^32. */
  readonly fileOffset: number;
}

export interface GgufShard {
  readonly path: string;
  readonly bytes: number;
  /** Bytes of the header: everything before the padding of the data section. */
  readonly headerBytes: number;
  readonly dataOffset: number;
}

export interface GgufHeader {
  readonly version: 1 | 2 | 3;
  readonly byteOrder: "little" | "big";
  readonly alignment: number;
  readonly metadata: GgufMetadata;
  /** In file order, all shards; names are unique. */
  readonly tensors: readonly GgufTensor[];
  readonly shards: readonly GgufShard[];
}
