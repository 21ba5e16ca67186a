import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { GgufFile } from "../../gguf/index.ts";
import { hashModel, type ModelHashes } from "../../model/index.ts";
import type { HashRow } from "../../store/index.ts";

const HEX = /^[0-9a-f]{64}$/;

/** What tells one version of a file from another without reading it. */
interface FileStamp {
  readonly path: string;
  readonly bytes: number;
  /** In ns, as text: it exceeds what a number holds. */
  readonly mtimeNs: string;
  readonly inode: string;
}

/** Where hashes are kept from start to start. */
export interface HashStore {
  /** @returns null where nothing is known of these files */
  readHashes(files: string): HashRow | null;
  writeHashes(row: HashRow): void;
}

export interface HashOptions {
  readonly onProgress?: ((hashedBytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The model's hashes, from the store where the files are the same as when they were hashed (path, size, time of change,
 * inode), else by reading the whole model once. An entry that makes no sense is made anew.
 *
 * @throws as `hashModel`
 */
export async function readModelHashes(
  file: GgufFile,
  store: HashStore,
  options: HashOptions = {},
): Promise<ModelHashes> {
  const before = await takeStamps(file);
  const files = before.map((stamp) => stamp.path).join("\0");
  const stamps = JSON.stringify(before);
  const known = readEntry(store.readHashes(files), stamps);
  if (known !== null && (await isOf(known, file))) return known;
  const hashes = await hashModel(file, options.onProgress, options.signal);
  // A file that changed while it was read belongs to neither stamp.
  if (JSON.stringify(await takeStamps(file)) === stamps) {
    store.writeHashes({ files, stamps, hashes: JSON.stringify(hashes) });
  }
  return hashes;
}

function takeStamps(file: GgufFile): Promise<FileStamp[]> {
  return Promise.all(
    file.header.shards.map(async (shard) => {
      const path = resolve(shard.path);
      const { size, mtimeNs, ino } = await stat(path, { bigint: true });
      return { path, bytes: Number(size), mtimeNs: String(mtimeNs), inode: String(ino) };
    }),
  );
}

/** Guards against an entry of another model at the same place: the header is read anyway. */
async function isOf(hashes: ModelHashes, file: GgufFile): Promise<boolean> {
  const { tensors } = file.header;
  return (
    hashes.sourceBytes === file.fileBytes &&
    hashes.tensors.length === tensors.length &&
    hashes.tensors.every((tensor, index) => tensor.name === tensors[index]?.name) &&
    hashes.headerSha256 === (await file.headerSha256())
  );
}

function readEntry(row: HashRow | null, stamps: string): ModelHashes | null {
  if (row === null || row.stamps !== stamps) return null;
  try {
    const hashes: unknown = JSON.parse(row.hashes);
    return isModelHashes(hashes) ? hashes : null;
  } catch {
    return null;
  }
}

function isModelHashes(value: unknown): value is ModelHashes {
  if (!isRecord(value) || !isHex(value["sourceSha256"]) || !isHex(value["headerSha256"])) return false;
  const { sourceBytes, tensors } = value as { sourceBytes?: unknown; tensors?: unknown };
  return (
    typeof sourceBytes === "number" &&
    Array.isArray(tensors) &&
    tensors.every((tensor) => isRecord(tensor) && typeof tensor["name"] === "string" && isHex(tensor["sha256"]))
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isHex(value: unknown): boolean {
  return typeof value === "string" && HEX.test(value);
}
