import { NoodleError } from "../common/index.ts";
import { ByteReader } from "./byte-reader.ts";
import { ggmlTypeById, tensorBytes } from "./ggml-types.ts";
import { DataLayout, alignUp } from "./layout.ts";
import {
  MAX_DIMS,
  MAX_KEY_BYTES,
  MAX_METADATA_KEYS,
  MAX_TENSORS,
  MAX_TENSOR_NAME_BYTES,
  checkLimit,
} from "./limits.ts";
import { getAlignment, toSafeInteger } from "./metadata.ts";
import { readPreamble } from "./preamble.ts";
import { quoteName } from "./text.ts";
import type { GgmlType, GgufHeader, GgufMetadata, GgufShard, GgufTensor, GgufValue } from "./types.ts";
import { ARRAY_TYPE_ID, type GgufVersion, SCALAR_TYPES_BY_ID } from "./wire.ts";

/** Smallest encodings: an empty key or name, its type, and what follows. Used to refuse counts the file cannot hold. */
const MIN_KEY_BYTES: Readonly<Record<GgufVersion, number>> = { 1: 9, 2: 13, 3: 13 };
const MIN_TENSOR_BYTES: Readonly<Record<GgufVersion, number>> = { 1: 20, 2: 24, 3: 24 };

/**
 * Parses and checks the header of one file, of any version and byte order; shards of a set stay apart.
 *
 * @param bytes a prefix of the file that holds the whole header; borrowed, nothing refers to it afterwards
 * @param fileBytes size of the whole file: tensors are held against it
 * @throws PrefixTooShort when the header goes on behind `bytes` (a NoodleError `GGUF_TRUNCATED` with `neededBytes`)
 * @throws NoodleError `GGUF_BAD_MAGIC`, `GGUF_WRONG_ENDIAN`, `GGUF_UNSUPPORTED`, `GGUF_TRUNCATED`, `GGUF_MALFORMED`,
 *   `GGUF_LIMIT_EXCEEDED`
 */
export function parseGgufHeader(bytes: Uint8Array, fileBytes: number, path = "(memory)"): GgufHeader {
  if (bytes.length > fileBytes) {
    throw new NoodleError("ILLEGAL_STATE", `${path}: ${bytes.length} bytes given of a file of ${fileBytes}`);
  }
  const { version, byteOrder } = readPreamble(bytes, fileBytes, path);
  const reader = new ByteReader({ bytes, fileBytes, path, version, byteOrder });
  const tensorCount = reader.readCount("tensors", MAX_TENSORS);
  const keyCount = reader.readCount("metadata keys", MAX_METADATA_KEYS);
  const leastBytes = tensorCount * MIN_TENSOR_BYTES[version] + keyCount * MIN_KEY_BYTES[version];
  if (reader.position + leastBytes > fileBytes) {
    throw reader.fail(
      "GGUF_TRUNCATED",
      `${tensorCount} tensors and ${keyCount} metadata keys need at least ${leastBytes} bytes, the file ends at ${fileBytes}`,
    );
  }

  const metadata = readMetadata(reader, keyCount);
  const alignment = withSubject(path, () => getAlignment(metadata));
  const entries = readTensorEntries(reader, tensorCount, path);
  const headerBytes = reader.position;
  const dataOffset = alignUp(headerBytes, alignment);
  const shard: GgufShard = { path, bytes: fileBytes, headerBytes, dataOffset };
  const tensors = placeTensors(entries, shard, alignment);
  return { version, byteOrder, alignment, metadata, tensors, shards: [shard] };
}

function readMetadata(reader: ByteReader, count: number): GgufMetadata {
  const metadata = new Map<string, GgufValue>();
  for (let index = 0; index < count; index++) {
    reader.subject = `metadata key ${index}`;
    const key = reader.readString("key bytes", MAX_KEY_BYTES);
    checkName(reader, key);
    reader.subject = `metadata key ${quoteName(key)}`;
    if (metadata.has(key)) throw reader.fail("GGUF_MALFORMED", "the key is there twice");
    metadata.set(key, readValue(reader));
  }
  return metadata;
}

function readValue(reader: ByteReader): GgufValue {
  const typeId = reader.readUint32();
  const isArray = typeId === ARRAY_TYPE_ID;
  const scalarId = isArray ? reader.readUint32() : typeId;
  const type = SCALAR_TYPES_BY_ID.get(scalarId);
  if (type === undefined) {
    if (scalarId === ARRAY_TYPE_ID)
      throw reader.fail("GGUF_UNSUPPORTED", "arrays of arrays are not read, as in llama.cpp");
    throw reader.fail("GGUF_MALFORMED", `value type ${scalarId} does not exist`);
  }
  if (isArray) return { type: "array", itemType: type, value: reader.readArray(type) };
  return { type, value: reader.readScalar(type) };
}

interface TensorEntry {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type: GgmlType;
  readonly bytes: number;
  /** Relative to the data section. */
  readonly offset: bigint;
}

function readTensorEntries(reader: ByteReader, count: number, path: string): readonly TensorEntry[] {
  const entries: TensorEntry[] = [];
  const names = new Set<string>();
  for (let index = 0; index < count; index++) {
    reader.subject = `tensor ${index}`;
    const name = reader.readString("name bytes", MAX_TENSOR_NAME_BYTES);
    checkName(reader, name);
    const subject = `tensor ${quoteName(name)}`;
    reader.subject = subject;
    if (names.has(name)) throw reader.fail("GGUF_MALFORMED", "the tensor is there twice");
    names.add(name);

    const dimCount = reader.readUint32();
    checkLimit(`${path}: ${subject}: dimensions`, dimCount, MAX_DIMS);
    const dims: number[] = [];
    for (let dim = 0; dim < dimCount; dim++)
      dims.push(toSafeInteger(reader.readSize(), `${path}: ${subject}: a dimension`));
    const typeId = reader.readUint32();
    const type = withSubject(`${path}: ${subject}`, () => ggmlTypeById(typeId));
    const offset = reader.readUint64();
    entries.push({ name, dims, type, bytes: tensorBytes(type, dims, `${path}: ${subject}`), offset });
  }
  return entries;
}

/** Holds the declared offsets against the only layout there is, and that against the file. */
function placeTensors(entries: readonly TensorEntry[], shard: GgufShard, alignment: number): readonly GgufTensor[] {
  const { path, bytes: fileBytes, dataOffset } = shard;
  const layout = new DataLayout(alignment);
  const tensors = entries.map((entry): GgufTensor => {
    const subject = `${path}: tensor ${quoteName(entry.name)}`;
    const expected = layout.place(entry.bytes, subject);
    const offset = toSafeInteger(entry.offset, `${subject}: the offset`);
    if (offset !== expected) {
      throw new NoodleError("GGUF_MALFORMED", `${subject}: ${layout.describeOffset(offset, expected)}`, {
        details: { path, tensor: entry.name, offset, expected },
      });
    }
    const { name, dims, type, bytes } = entry;
    return { name, dims, type, bytes, shard: 0, fileOffset: dataOffset + offset };
  });

  const last = tensors.at(-1);
  const endBytes = last === undefined ? shard.headerBytes : last.fileOffset + last.bytes;
  if (endBytes > fileBytes) {
    throw new NoodleError("GGUF_TRUNCATED", `${path}: the tensors end at ${endBytes}, the file at ${fileBytes}`, {
      details: { path, endBytes, fileBytes },
    });
  }
  // Some writers leave the last tensor's padding out; nothing may follow it.
  const paddedEndBytes = dataOffset + layout.bytes;
  if (fileBytes > paddedEndBytes) {
    const extraBytes = fileBytes - paddedEndBytes;
    throw new NoodleError("GGUF_MALFORMED", `${path}: ${extraBytes} bytes follow the last tensor`, {
      details: { path, paddedEndBytes, fileBytes },
    });
  }
  return tensors;
}

/** A name that ends early in the engine (at a zero byte) would be another name there. */
function checkName(reader: ByteReader, name: string): void {
  if (name === "") throw reader.fail("GGUF_MALFORMED", "the name is empty");
  if (name.includes("\0")) throw reader.fail("GGUF_MALFORMED", "the name holds a zero byte");
}

/** Puts the file and the place in front of a message that does not know them. */
function withSubject<T>(subject: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof NoodleError)) throw error;
    throw new NoodleError(error.code, `${subject}: ${error.message}`, { details: error.details, cause: error });
  }
}
