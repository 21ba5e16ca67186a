import { createHash } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { NoodleError } from "../../common/index.ts";
import type { GgufFile } from "../../gguf/index.ts";
import { hashModel, type ModelHashes } from "../../model/index.ts";
import { writeFileDurably } from "./epoch-store.ts";

const SCHEMA = "noodle.model_hashes.v1";
const HEX = /^[0-9a-f]{64}$/;

/** What tells one version of a file from another without reading it. */
interface FileStamp {
  readonly path: string;
  readonly bytes: number;
  /** In ns, as text: it exceeds what a number holds. */
  readonly mtimeNs: string;
  readonly inode: string;
}

export interface HashOptions {
  readonly onProgress?: ((hashedBytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The model's hashes, from the cache where the files are the same as when they were hashed (path, size, time of change,
 * inode), else by reading the whole model once. An entry that cannot be read is made anew.
 *
 * @throws as `hashModel`
 */
export async function readModelHashes(
  file: GgufFile,
  dataDir: string,
  options: HashOptions = {},
): Promise<ModelHashes> {
  const before = await takeStamps(file);
  const folder = join(dataDir, "model-hashes");
  const name = createHash("sha256")
    .update(before.map((stamp) => stamp.path).join("\0"))
    .digest("hex");
  const path = join(folder, `${name}.json`);
  const cached = await readEntry(path, before);
  if (cached !== null && (await isOf(cached, file))) return cached;
  const hashes = await hashModel(file, options.onProgress, options.signal);
  // A file that changed while it was read belongs to neither stamp.
  if (JSON.stringify(await takeStamps(file)) === JSON.stringify(before)) {
    await mkdir(folder, { recursive: true });
    await writeFileDurably(path, JSON.stringify({ schema: SCHEMA, shards: before, hashes }));
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

async function readEntry(path: string, stamps: readonly FileStamp[]): Promise<ModelHashes | null> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (NoodleError.from(error).code === "FILE_NOT_FOUND") return null;
    throw error;
  }
  let entry: unknown;
  try {
    entry = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(entry) || entry["schema"] !== SCHEMA) return null;
  if (JSON.stringify(entry["shards"]) !== JSON.stringify(stamps)) return null;
  return isModelHashes(entry["hashes"]) ? entry["hashes"] : null;
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
