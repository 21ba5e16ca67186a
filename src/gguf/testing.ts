import { ggmlTypeByName } from "./ggml-types.ts";
import type { GgufMetadata, GgufScalar, GgufScalarType, GgufValue } from "./types.ts";

/**
 * For tests: writes GGUF bytes field by field, sound or not, with no help from the code under test. Arguments go into
 * the file as they are; nothing is checked.
 */
export class GgufBytes {
  readonly #bytes: number[] = [];
  readonly #version: number;
  readonly #little: boolean;

  /** Writes magic and version. */
  constructor(version = 3, byteOrder: "little" | "big" = "little") {
    this.#version = version;
    this.#little = byteOrder === "little";
    this.raw(Buffer.from("GGUF")).u32(version);
  }

  get length(): number {
    return this.#bytes.length;
  }

  raw(bytes: Uint8Array): this {
    for (const byte of bytes) this.#bytes.push(byte);
    return this;
  }

  u32(value: number): this {
    const bytes = new DataView(new ArrayBuffer(4));
    bytes.setUint32(0, value, this.#little);
    return this.raw(new Uint8Array(bytes.buffer));
  }

  u64(value: number | bigint): this {
    const bytes = new DataView(new ArrayBuffer(8));
    bytes.setBigUint64(0, BigInt.asUintN(64, BigInt(value)), this.#little);
    return this.raw(new Uint8Array(bytes.buffer));
  }

  f32(value: number): this {
    const bytes = new DataView(new ArrayBuffer(4));
    bytes.setFloat32(0, value, this.#little);
    return this.raw(new Uint8Array(bytes.buffer));
  }

  /** A length or count, of the version's width. */
  size(value: number | bigint): this {
    return this.#version === 1 ? this.u32(Number(value)) : this.u64(value);
  }

  counts(tensors: number | bigint, keys: number | bigint): this {
    return this.size(tensors).size(keys);
  }

  str(text: string | Uint8Array): this {
    const bytes = typeof text === "string" ? Buffer.from(text) : text;
    return this.size(bytes.length).raw(bytes);
  }

  /** A key and its value type; the value follows. */
  key(name: string | Uint8Array, valueType: number): this {
    return this.str(name).u32(valueType);
  }

  tensor(name: string, dims: readonly (number | bigint)[], typeId: number, offset: number | bigint): this {
    this.str(name).u32(dims.length);
    for (const dim of dims) this.size(dim);
    return this.u32(typeId).u64(offset);
  }

  /** Zeros up to a multiple of `alignment`. */
  pad(alignment = 32): this {
    while (this.#bytes.length % alignment !== 0) this.#bytes.push(0);
    return this;
  }

  build(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

/** A small sound file: a string, a number, an array of strings; two tensors, f32[4] and q8_0[32, 2]. */
export function buildSmallGguf(version: 1 | 2 | 3 = 3, byteOrder: "little" | "big" = "little"): Uint8Array {
  const file = new GgufBytes(version, byteOrder).counts(2, 3);
  file.key("general.architecture", 8).str("gpt2");
  file.key("gpt2.block_count", 4).u32(12);
  file.key("tokenizer.ggml.tokens", 9).u32(8).size(3).str("a").str("é").str("");
  file.tensor("first", [4], 0, 0).tensor("second", [32, 2], 8, 32).pad();
  for (const value of [1, 2, 3, 4]) file.f32(value);
  return file.pad().raw(countingBytes(68)).pad().build();
}

/** 1, 2, 3, ... modulo 256. */
export function countingBytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index + 1) % 256);
}

/** What `buildSmallGguf` holds, in memory. */
export function smallMetadata(): GgufMetadata {
  return new Map<string, GgufValue>([
    ["general.architecture", scalar("string", "gpt2")],
    ["gpt2.block_count", scalar("uint32", 12)],
    ["tokenizer.ggml.tokens", { type: "array", itemType: "string", value: ["a", "é", ""] }],
  ]);
}

/** The tensors of `buildSmallGguf`. */
export function smallTensors(): {
  name: string;
  dims: number[];
  type: ReturnType<typeof ggmlTypeByName>;
  data: Uint8Array;
}[] {
  return [
    { name: "first", dims: [4], type: ggmlTypeByName("f32"), data: new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer) },
    { name: "second", dims: [32, 2], type: ggmlTypeByName("q8_0"), data: countingBytes(68) },
  ];
}

export function scalar(type: GgufScalarType, value: GgufScalar): GgufValue {
  return { type, value };
}
