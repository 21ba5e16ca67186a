import { NoodleError } from "../common/index.ts";
import { PrefixTooShort } from "./byte-reader.ts";
import { type ByteOrder, type GgufVersion, LATEST_VERSION, MAGIC, PREAMBLE_BYTES } from "./wire.ts";

/** What the first eight bytes say. */
export interface Preamble {
  readonly version: GgufVersion;
  readonly byteOrder: ByteOrder;
}

/**
 * Reads magic and version. A file of the other byte order is told by its version, whose low half is zero when read
 * the wrong way round; the magic is the same four letters in both.
 *
 * @param bytes a prefix of the file
 * @throws NoodleError `GGUF_BAD_MAGIC` naming the format where it is a known one, `GGUF_WRONG_ENDIAN` for a magic
 *   written backwards, `GGUF_UNSUPPORTED` for another version, `GGUF_TRUNCATED`
 */
export function readPreamble(bytes: Uint8Array, fileBytes: number, path: string): Preamble {
  const details = { path, fileBytes };
  if (fileBytes === 0) throw new NoodleError("GGUF_TRUNCATED", `${path}: the file is empty`, { details });
  const wantedBytes = Math.min(PREAMBLE_BYTES, fileBytes);
  if (bytes.length < wantedBytes) throw new PrefixTooShort(path, bytes.length, wantedBytes);

  const found = latin1(bytes.subarray(0, Math.min(MAGIC.length, wantedBytes)));
  if (found === "FUGG") {
    throw new NoodleError("GGUF_WRONG_ENDIAN", `${path}: the magic is written backwards`, { details });
  }
  if (!MAGIC.startsWith(found)) {
    const format = nameForeignFormat(bytes);
    throw new NoodleError(
      "GGUF_BAD_MAGIC",
      format === undefined
        ? `${path}: not a GGUF file: it starts with ${JSON.stringify(found)}, not "${MAGIC}"`
        : `${path}: not a GGUF file but ${format}`,
      { details: { ...details, format } },
    );
  }
  if (fileBytes < PREAMBLE_BYTES) {
    throw new NoodleError("GGUF_TRUNCATED", `${path}: the file has only ${fileBytes} bytes`, { details });
  }

  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const asLittle = view.getUint32(MAGIC.length, true);
  const asBig = view.getUint32(MAGIC.length, false);
  if (isVersion(asLittle)) return { version: asLittle, byteOrder: "little" };
  if (isVersion(asBig)) return { version: asBig, byteOrder: "big" };
  throw new NoodleError(
    "GGUF_UNSUPPORTED",
    `${path}: GGUF version ${asLittle}, versions 1 to ${LATEST_VERSION} are known`,
    { details: { ...details, version: asLittle } },
  );
}

function isVersion(value: number): value is GgufVersion {
  return value >= 1 && value <= LATEST_VERSION;
}

/** Formats that people hand in by mistake, told by their first bytes. */
const FOREIGN_FORMATS: readonly { readonly start: string; readonly name: string }[] = [
  { start: "PK\x03\x04", name: "a zip archive (PyTorch saves its checkpoints so)" },
  { start: "lmgg", name: "a model in ggml's unversioned format, older than GGUF" },
  { start: "fmgg", name: "a model in the ggmf format, older than GGUF" },
  { start: "tjgg", name: "a model in the ggjt format, older than GGUF" },
  { start: "algg", name: "a LoRA adapter in the ggla format, older than GGUF" },
  { start: "version https://git-lfs", name: "a Git LFS pointer: the file itself was not fetched" },
  { start: "\x89HDF", name: "an HDF5 file (Keras saves its models so)" },
  { start: "\x1f\x8b", name: "a gzip archive" },
  { start: "\x28\xb5\x2f\xfd", name: "a Zstandard archive" },
  { start: "<", name: "an HTML or XML page: the download brought a page instead of the file" },
  { start: "{", name: "a JSON document" },
];

function nameForeignFormat(bytes: Uint8Array): string | undefined {
  const head = latin1(bytes.subarray(0, 64));
  const known = FOREIGN_FORMATS.find((format) => head.startsWith(format.start));
  if (known !== undefined) return known.name;
  // Protocol 2 to 5 of pickle; safetensors begins with a 64-bit length and a JSON object.
  const [first = 0, second = 0] = bytes;
  if (first === 0x80 && second >= 2 && second <= 5) return "a Python pickle (PyTorch saves older checkpoints so)";
  if (head.slice(5, 9) === "\0\0\0{") return "a safetensors file";
  return undefined;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}
