import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { UnitRange } from "../../engine/index.ts";
import { NoodleError } from "../../common/index.ts";

/** Raise it when the same source and units give other bytes than before: older files are then not found any more. */
const RECIPE_VERSION = 1;

/** A file that was used so recently may be about to be loaded by another worker of this directory. */
const PROTECTED_MS = 60_000;

/** A draft that nobody has written to for so long has no writer any more. */
const LEFTOVER_MS = 600_000;

/** What is known of a stage file; kept beside it. */
export interface StageFileFacts {
  /** Hex, over the whole file. */
  readonly sha256: string;
  readonly bytes: number;
  readonly weightsBytes: number;
  readonly kvBytesPerToken: number;
}

/** Finished stage files of one directory, by what they are made of. Processes may share the directory. */
export class StageCache {
  readonly #directory: string;
  readonly #limitBytes: number;

  constructor(directory: string, limitBytes: number) {
    this.#directory = directory;
    this.#limitBytes = limitBytes;
  }

  static keyOf(sourceSha256: string, units: UnitRange): string {
    const text = `${sourceSha256} ${units.first}:${units.end} ${RECIPE_VERSION}`;
    return createHash("sha256").update(text).digest("hex").slice(0, 40);
  }

  pathOf(key: string): string {
    return join(this.#directory, `${key}.gguf`);
  }

  /** What the cache says of a file; the file itself is not looked at. */
  async find(key: string): Promise<StageFileFacts | undefined> {
    try {
      return JSON.parse(await readFile(this.#factsPathOf(key), "utf8")) as StageFileFacts;
    } catch (error) {
      // A half-written one cannot be, but whoever edits files in here may have damaged it.
      if ((error as NodeJS.ErrnoException).code === "ENOENT" || error instanceof SyntaxError) return undefined;
      throw NoodleError.from(error);
    }
  }

  /**
   * Reads the whole file and compares it with what was written.
   *
   * @throws STAGE_CORRUPT after the file was removed; INTERRUPTED by the signal
   */
  async verify(key: string, facts: StageFileFacts, signal: AbortSignal): Promise<void> {
    const path = this.pathOf(key);
    const sha256 = await hashFile(path, signal);
    if (sha256 === facts.sha256) return await this.#touch(key);
    await this.remove(key);
    const found = sha256 === undefined ? "is gone" : `has SHA-256 ${sha256}`;
    throw new NoodleError("STAGE_CORRUPT", `${path} ${found}, expected ${facts.sha256}`, {
      details: { path, sha256, expectedSha256: facts.sha256 },
    });
  }

  /** Makes a file that has been written to `pathOf(key)` findable. */
  async commit(key: string, facts: StageFileFacts): Promise<void> {
    const path = this.#factsPathOf(key);
    const draft = `${path}.${process.pid}.tmp`;
    try {
      await writeFile(draft, JSON.stringify(facts));
      await rename(draft, path);
    } catch (error) {
      await rm(draft, { force: true });
      throw NoodleError.from(error);
    }
  }

  async remove(key: string): Promise<void> {
    // The facts first: a file without facts is not found.
    await rm(this.#factsPathOf(key), { force: true });
    await rm(this.pathOf(key), { force: true });
  }

  /** Removes what was not used for the longest time until `incomingBytes` more fit; `keep` and recent files stay. */
  async makeRoom(incomingBytes: number, keep: string, nowMs: number): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    await this.#removeLeftovers(nowMs);
    const entries = await this.#list();
    let usedBytes = entries.reduce((sum, { bytes }) => sum + bytes, incomingBytes);
    for (const { key, bytes, usedMs } of entries.sort((a, b) => a.usedMs - b.usedMs)) {
      if (usedBytes <= this.#limitBytes) return;
      if (key === keep || nowMs - usedMs < PROTECTED_MS) continue;
      await this.remove(key);
      usedBytes -= bytes;
    }
  }

  /** Drafts of processes that died while they wrote. */
  async #removeLeftovers(nowMs: number): Promise<void> {
    for (const name of await readdir(this.#directory)) {
      if (!name.endsWith(".tmp")) continue;
      const path = join(this.#directory, name);
      const draft = await tryStat(path);
      if (draft !== undefined && nowMs - draft.mtimeMs > LEFTOVER_MS) await rm(path, { force: true });
    }
  }

  async #list(): Promise<{ key: string; bytes: number; usedMs: number }[]> {
    const entries = [];
    for (const name of await readdir(this.#directory)) {
      if (!name.endsWith(".gguf")) continue;
      const key = name.slice(0, -".gguf".length);
      const [file, facts] = await Promise.all([tryStat(this.pathOf(key)), tryStat(this.#factsPathOf(key))]);
      // A file without facts is being finished by another process, or was left by one that died.
      if (file !== undefined) entries.push({ key, bytes: file.size, usedMs: facts?.mtimeMs ?? file.mtimeMs });
    }
    return entries;
  }

  async #touch(key: string): Promise<void> {
    const now = new Date();
    await utimes(this.#factsPathOf(key), now, now);
  }

  #factsPathOf(key: string): string {
    return join(this.#directory, `${key}.json`);
  }
}

/** @returns hex, or undefined when there is no such file. @throws INTERRUPTED, FILE_UNREADABLE */
export async function hashFile(path: string, signal: AbortSignal): Promise<string | undefined> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024, signal }))
      hash.update(chunk as Buffer);
    return hash.digest("hex");
  } catch (error) {
    if (signal.aborted) throw new NoodleError("INTERRUPTED", `${path}: stopped before the end`, { cause: error });
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
}

async function tryStat(path: string): Promise<{ size: number; mtimeMs: number } | undefined> {
  try {
    return await stat(path);
  } catch {
    // Removed by another process in between.
    return undefined;
  }
}
