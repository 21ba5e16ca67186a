import { NoodleError } from "../common/index.ts";
import { ByteWriter } from "./byte-writer.ts";
import { tensorBytes } from "./ggml-types.ts";
import { DataLayout, alignUp } from "./layout.ts";
import {
  MAX_ARRAY_ITEMS_TOTAL,
  MAX_DIMS,
  MAX_KEY_BYTES,
  MAX_METADATA_KEYS,
  MAX_TENSORS,
  MAX_TENSOR_NAME_BYTES,
  checkLimit,
} from "./limits.ts";
import { getAlignment } from "./metadata.ts";
import { quoteName } from "./text.ts";
import type { GgmlType, GgufMetadata, GgufValue } from "./types.ts";
import { ARRAY_TYPE_ID, type ByteOrder, type GgufVersion, MAGIC, SCALAR_TYPES } from "./wire.ts";

export interface GgufTensorShape {
  readonly name: string;
  /** Innermost first; written as given, llama.cpp drops trailing ones. */
  readonly dims: readonly number[];
  readonly type: GgmlType;
}

export interface GgufHeaderInput {
  readonly version: GgufVersion;
  readonly byteOrder: ByteOrder;
  /** Must be what the metadata say: `general.alignment`, or 32 without it. */
  readonly alignment: number;
  readonly metadata: GgufMetadata;
  readonly tensors: readonly GgufTensorShape[];
}

export interface EncodedGgufHeader {
  /** Padded with zeros to the start of the data section. */
  readonly header: Uint8Array;
  /** One for each tensor, relative to the data section. */
  readonly dataOffsets: readonly number[];
  /** Size of the data section, the padding of the last tensor included. */
  readonly dataBytes: number;
}

/**
 * Writes a header as llama.cpp does, so that a header that was read comes out with the same bytes.
 *
 * @throws NoodleError `GGUF_MALFORMED` for values beyond their types, bad or repeated names, shapes that do not fit
 *   their types, or an alignment other than the metadata's; `GGUF_UNSUPPORTED` for sizes beyond version 1;
 *   `GGUF_LIMIT_EXCEEDED`
 */
export function encodeGgufHeader(input: GgufHeaderInput): EncodedGgufHeader {
  const { version, byteOrder, alignment, metadata, tensors } = input;
  checkLimit("tensors", tensors.length, MAX_TENSORS);
  checkLimit("metadata keys", metadata.size, MAX_METADATA_KEYS);
  const declared = getAlignment(metadata);
  if (declared !== alignment) {
    throw new NoodleError("GGUF_MALFORMED", `alignment is ${alignment}, the metadata say ${declared}`);
  }

  const writer = new ByteWriter(version, byteOrder);
  writer.writeBytes(Buffer.from(MAGIC, "latin1"));
  writer.writeUint32(version);
  writer.writeSize(tensors.length, "tensors");
  writer.writeSize(metadata.size, "metadata keys");
  writeMetadata(writer, metadata);
  const layout = new DataLayout(alignment);
  const dataOffsets = writeTensorEntries(writer, tensors, layout);
  return { header: writer.toBytes(alignUp(writer.length, alignment)), dataOffsets, dataBytes: layout.bytes };
}

function writeMetadata(writer: ByteWriter, metadata: GgufMetadata): void {
  let arrayItems = 0;
  for (const [key, entry] of metadata) {
    const what = `metadata key ${quoteName(key)}`;
    checkName(key, what);
    writer.writeString(key, what, MAX_KEY_BYTES);
    if (entry.type === "array") arrayItems += entry.value.length;
    checkLimit("items of all arrays", arrayItems, MAX_ARRAY_ITEMS_TOTAL);
    writeValue(writer, entry, what);
  }
}

function writeValue(writer: ByteWriter, entry: GgufValue, what: string): void {
  if (entry.type === "array") {
    writer.writeUint32(ARRAY_TYPE_ID);
    writer.writeUint32(SCALAR_TYPES[entry.itemType].id);
    writer.writeArray(entry.itemType, entry.value, what);
  } else {
    writer.writeUint32(SCALAR_TYPES[entry.type].id);
    writer.writeScalar(entry.type, entry.value, what);
  }
}

function writeTensorEntries(writer: ByteWriter, tensors: readonly GgufTensorShape[], layout: DataLayout): number[] {
  const names = new Set<string>();
  return tensors.map(({ name, dims, type }) => {
    const what = `tensor ${quoteName(name)}`;
    checkName(name, what);
    if (names.has(name)) throw new NoodleError("GGUF_MALFORMED", `${what} is there twice`);
    names.add(name);
    checkLimit(`${what}: dimensions`, dims.length, MAX_DIMS);
    const offset = layout.place(tensorBytes(type, dims, what), what);
    writer.writeString(name, what, MAX_TENSOR_NAME_BYTES);
    writer.writeUint32(dims.length);
    for (const dim of dims) writer.writeSize(dim, `${what}: a dimension`);
    writer.writeUint32(type.id);
    writer.writeUint64(offset);
    return offset;
  });
}

function checkName(name: string, what: string): void {
  if (name === "" || name.includes("\0")) {
    throw new NoodleError("GGUF_MALFORMED", `${what}: a name must not be empty or hold a zero byte`);
  }
}
