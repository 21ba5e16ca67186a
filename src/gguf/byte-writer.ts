import { NoodleError } from "../common/index.ts";
import { MAX_ARRAY_ITEMS, MAX_HEADER_BYTES, MAX_STRING_BYTES_TOTAL, checkLimit } from "./limits.ts";
import { encodeText } from "./text.ts";
import type { GgufScalar, GgufScalarType } from "./types.ts";
import type { ByteOrder, GgufVersion } from "./wire.ts";

const INITIAL_BYTES = 64 * 1024;
const MAX_UINT32 = 0xffff_ffff;

/** Ranges of the integer types that are numbers in memory. */
const NUMBER_RANGES = {
  uint8: [0, 0xff],
  int8: [-0x80, 0x7f],
  uint16: [0, 0xffff],
  int16: [-0x8000, 0x7fff],
  uint32: [0, MAX_UINT32],
  int32: [-0x8000_0000, 0x7fff_ffff],
} as const;

/** Writes values one after another into a growing buffer. Refuses what its type cannot hold instead of wrapping it. */
export class ByteWriter {
  readonly #version: GgufVersion;
  readonly #little: boolean;
  #bytes = new Uint8Array(INITIAL_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  constructor(version: GgufVersion, byteOrder: ByteOrder) {
    this.#version = version;
    this.#little = byteOrder === "little";
  }

  get length(): number {
    return this.#length;
  }

  /** What was written, padded with zeros to `length`; a copy. */
  toBytes(length: number): Uint8Array {
    const result = new Uint8Array(length);
    result.set(this.#bytes.subarray(0, this.#length));
    return result;
  }

  writeBytes(bytes: Uint8Array): void {
    const at = this.#claim(bytes.length);
    this.#bytes.set(bytes, at);
  }

  writeUint32(value: number): void {
    const at = this.#claim(4);
    this.#view.setUint32(at, value, this.#little);
  }

  /** A count, length or dimension: 32 bits wide in version 1, 64 bits later. */
  writeSize(value: number, what: string): void {
    if (this.#version > 1) {
      this.writeUint64(value);
    } else if (value > MAX_UINT32) {
      throw new NoodleError("GGUF_UNSUPPORTED", `${what} is ${value}, version 1 holds up to ${MAX_UINT32}`);
    } else {
      this.writeUint32(value);
    }
  }

  writeUint64(value: number): void {
    const at = this.#claim(8);
    this.#view.setBigUint64(at, BigInt(value), this.#little);
  }

  writeString(text: string, what: string, maxBytes = MAX_STRING_BYTES_TOTAL): void {
    const bytes = encodeText(text);
    checkLimit(what, bytes.length, maxBytes);
    this.writeSize(bytes.length, what);
    this.writeBytes(bytes);
  }

  writeArray(itemType: GgufScalarType, items: readonly GgufScalar[], what: string): void {
    checkLimit(`${what}: array items`, items.length, MAX_ARRAY_ITEMS);
    this.writeSize(items.length, what);
    for (const item of items) this.writeScalar(itemType, item, what);
  }

  /** @throws NoodleError `GGUF_MALFORMED` for a value that is not of the type or beyond its range */
  writeScalar(type: GgufScalarType, value: GgufScalar, what: string): void {
    switch (type) {
      case "string":
        if (typeof value !== "string") throw wrongValue(what, type, value);
        return this.writeString(value, what);
      case "bool":
        if (typeof value !== "boolean") throw wrongValue(what, type, value);
        return this.#view.setUint8(this.#claim(1), value ? 1 : 0);
      case "float32":
      case "float64":
        if (typeof value !== "number") throw wrongValue(what, type, value);
        if (type === "float64") return this.#setFloat64(value);
        return this.#setFloat32(value);
      case "uint64":
      case "int64":
        if (typeof value !== "bigint") throw wrongValue(what, type, value);
        return this.#setBigInteger(type, value, what);
      case "uint8":
      case "int8":
      case "uint16":
      case "int16":
      case "uint32":
      case "int32": {
        const [lowest, highest] = NUMBER_RANGES[type];
        if (typeof value !== "number" || !Number.isInteger(value) || value < lowest || value > highest) {
          throw wrongValue(what, type, value);
        }
        return this.#setInteger(type, value);
      }
      default:
        throw new NoodleError("INTERNAL", `unknown value type ${String(type satisfies never)}`);
    }
  }

  // The place is claimed first, in its own statement: claiming may replace the view.

  #setFloat32(value: number): void {
    const at = this.#claim(4);
    this.#view.setFloat32(at, value, this.#little);
  }

  #setFloat64(value: number): void {
    const at = this.#claim(8);
    this.#view.setFloat64(at, value, this.#little);
  }

  /** Two's complement makes signed and unsigned the same bytes. */
  #setInteger(type: keyof typeof NUMBER_RANGES, value: number): void {
    const at = this.#claim(type.endsWith("8") ? 1 : type.endsWith("16") ? 2 : 4);
    if (type.endsWith("8")) this.#view.setInt8(at, value);
    else if (type.endsWith("16")) this.#view.setInt16(at, value, this.#little);
    else this.#view.setInt32(at, value, this.#little);
  }

  #setBigInteger(type: "uint64" | "int64", value: bigint, what: string): void {
    const wrapped = type === "uint64" ? BigInt.asUintN(64, value) : BigInt.asIntN(64, value);
    if (wrapped !== value) throw wrongValue(what, type, value);
    const at = this.#claim(8);
    this.#view.setBigInt64(at, BigInt.asIntN(64, value), this.#little);
  }

  /** Makes room for `count` bytes and returns where they start. */
  #claim(count: number): number {
    const start = this.#length;
    const end = start + count;
    checkLimit("header bytes", end, MAX_HEADER_BYTES);
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = end;
    return start;
  }
}

function wrongValue(what: string, type: GgufScalarType, value: GgufScalar): NoodleError {
  return new NoodleError("GGUF_MALFORMED", `${what}: ${typeof value} ${String(value).slice(0, 100)} is no ${type}`);
}
