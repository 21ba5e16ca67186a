import { type ErrorCode, NoodleError } from "../common/index.ts";
import { MAX_ARRAY_ITEMS, MAX_ARRAY_ITEMS_TOTAL, MAX_HEADER_BYTES, MAX_STRING_BYTES_TOTAL } from "./limits.ts";
import { decodeText } from "./text.ts";
import type { GgufScalar, GgufScalarType } from "./types.ts";
import { type ByteOrder, type GgufVersion, PREAMBLE_BYTES, SCALAR_TYPES } from "./wire.ts";

/** The file goes on, the bytes at hand do not: read at least `neededBytes` from its start and parse again. */
export class PrefixTooShort extends NoodleError {
  readonly neededBytes: number;

  constructor(path: string, prefixBytes: number, neededBytes: number) {
    super("GGUF_TRUNCATED", `${path}: the header goes on behind the ${prefixBytes} bytes at hand`, {
      details: { path, prefixBytes, neededBytes },
    });
    this.neededBytes = neededBytes;
  }
}

export interface ByteReaderOptions {
  /** A prefix of the file, from its first byte. Borrowed. */
  readonly bytes: Uint8Array;
  readonly fileBytes: number;
  readonly path: string;
  readonly version: GgufVersion;
  readonly byteOrder: ByteOrder;
}

/**
 * Reads values one after another, starting behind the preamble. A length is held against its limit and against the
 * bytes that are there before anything is allocated for it.
 */
export class ByteReader {
  /** What is being read, for messages: `tensor "blk.0.attn_q.weight"`. */
  subject = "the counts";
  /** Offset in the file of the next byte. */
  position = PREAMBLE_BYTES;
  readonly #options: ByteReaderOptions;
  readonly #buffer: Buffer;
  readonly #view: DataView;
  readonly #little: boolean;
  #stringBytes = 0;
  #arrayItems = 0;

  constructor(options: ByteReaderOptions) {
    const { bytes } = options;
    this.#options = options;
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#little = options.byteOrder === "little";
  }

  readUint32(): number {
    return this.#view.getUint32(this.#take(4), this.#little);
  }

  readUint64(): bigint {
    return this.#view.getBigUint64(this.#take(8), this.#little);
  }

  /** A count, length or dimension: 32 bits wide in version 1, 64 bits later. */
  readSize(): bigint {
    return this.#options.version === 1 ? BigInt(this.readUint32()) : this.readUint64();
  }

  /** A size within `limit`. @throws NoodleError `GGUF_LIMIT_EXCEEDED` */
  readCount(what: string, limit: number): number {
    const count = this.readSize();
    if (count > limit) this.#refuseCount(what, count, limit);
    return Number(count);
  }

  /** @param maxBytes limit of this string; that of all strings together holds as well. */
  readString(what: string, maxBytes: number): string {
    const length = this.readCount(what, maxBytes);
    const start = this.#take(length);
    this.#stringBytes += length;
    if (this.#stringBytes > MAX_STRING_BYTES_TOTAL) {
      this.#refuseCount("bytes of all strings", this.#stringBytes, MAX_STRING_BYTES_TOTAL);
    }
    return decodeText(this.#buffer, start, start + length);
  }

  /** Reads the number of items and the items. */
  readArray(itemType: GgufScalarType): readonly GgufScalar[] {
    const count = this.readCount("array items", MAX_ARRAY_ITEMS);
    this.#arrayItems += count;
    if (this.#arrayItems > MAX_ARRAY_ITEMS_TOTAL) {
      this.#refuseCount("items of all arrays", this.#arrayItems, MAX_ARRAY_ITEMS_TOTAL);
    }
    this.#requireBytes(count * SCALAR_TYPES[itemType].bytes);
    const items: GgufScalar[] = [];
    for (let index = 0; index < count; index++) items.push(this.readScalar(itemType));
    return items;
  }

  readScalar(type: GgufScalarType): GgufScalar {
    if (type === "string") return this.readString("string bytes", MAX_STRING_BYTES_TOTAL);
    const view = this.#view;
    const little = this.#little;
    const at = this.#take(SCALAR_TYPES[type].bytes);
    switch (type) {
      case "uint8":
        return view.getUint8(at);
      case "int8":
        return view.getInt8(at);
      case "uint16":
        return view.getUint16(at, little);
      case "int16":
        return view.getInt16(at, little);
      case "uint32":
        return view.getUint32(at, little);
      case "int32":
        return view.getInt32(at, little);
      case "uint64":
        return view.getBigUint64(at, little);
      case "int64":
        return view.getBigInt64(at, little);
      case "float32":
        return view.getFloat32(at, little);
      case "float64":
        return view.getFloat64(at, little);
      case "bool": {
        const byte = view.getUint8(at);
        // Anything else could not be written back as it was.
        if (byte > 1) throw this.fail("GGUF_MALFORMED", `a boolean is ${byte}, must be 0 or 1`);
        return byte === 1;
      }
      default:
        throw new NoodleError("INTERNAL", `unknown value type ${String(type satisfies never)}`);
    }
  }

  fail(code: ErrorCode, problem: string): NoodleError {
    const { path } = this.#options;
    return new NoodleError(code, `${path}: ${this.subject}: ${problem}`, { details: { path, offset: this.position } });
  }

  /** Apart from the checks, which run for every string of a vocabulary: the message is put together here only. */
  #refuseCount(what: string, count: number | bigint, limit: number): never {
    throw new NoodleError(
      "GGUF_LIMIT_EXCEEDED",
      `${this.#options.path}: ${this.subject}: ${what}: ${count}, limit is ${limit}`,
      {
        details: { path: this.#options.path, value: count.toString(), limit },
      },
    );
  }

  /** Moves past `count` bytes and returns where they start. */
  #take(count: number): number {
    this.#requireBytes(count);
    const start = this.position;
    this.position = start + count;
    return start;
  }

  #requireBytes(count: number): void {
    const end = this.position + count;
    const { bytes, fileBytes, path } = this.#options;
    if (end <= bytes.length && end <= MAX_HEADER_BYTES) return;
    if (end > fileBytes) {
      throw this.fail("GGUF_TRUNCATED", `${count} bytes wanted at ${this.position}, the file ends at ${fileBytes}`);
    }
    if (end > MAX_HEADER_BYTES) this.#refuseCount("header bytes", end, MAX_HEADER_BYTES);
    throw new PrefixTooShort(path, bytes.length, end);
  }
}
