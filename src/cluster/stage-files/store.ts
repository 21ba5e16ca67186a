import { mkdir, statfs } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { NoodleError } from "../../common/index.ts";
import { type GgufFile, openGguf } from "../../gguf/index.ts";
import {
  describeModel,
  type ModelHashes,
  neededRanges,
  planStage,
  sourceFromFile,
  writeStage,
} from "../../model/index.ts";
import type { ClientSecurity } from "../../net/index.ts";
import type { ModelIdentity } from "../../protocol/index.ts";
import { hashFile, StageCache } from "./cache.ts";
import { createRangeFetcher, type RangeFetcher } from "./fetch.ts";
import { type FileLock, tryLock } from "./lock.ts";
import { ModelMirror } from "./mirror.ts";
import { fetchHeaders, fetchMissing, type ModelFetchOptions } from "./model-fetch.ts";
import { countBytes } from "./ranges.ts";
import type { PreparedStage, StageFileHooks, StageFileRequest, StageFileSource } from "./types.ts";

export interface StageFilesOptions {
  /** Made when it does not exist. Workers of one machine may share it. */
  readonly directory: string;
  /** host:port of the coordinator, which has the model's bytes. */
  readonly coordinator: string;
  /** How it is reached. @default undefined: in plaintext */
  readonly security?: ClientSecurity | undefined;
  /** Most bytes of finished files to keep; the one in use is always kept. @default no limit */
  readonly cacheLimitBytes?: number;
  /** Told when a damaged file was found and removed. */
  readonly onCorrupt?: (error: NoodleError) => void;
}

/** What tests replace. */
export interface StageFilesParts {
  readonly fetch?: RangeFetcher;
  readonly writeStage?: typeof writeStage;
  readonly freeBytes?: (directory: string) => Promise<number>;
  readonly wait?: ModelFetchOptions["wait"];
}

const LOCK_POLL_MS = 200;
const RETRY_MS = 300;

/** A model's file with the stage's facts read from its header. */
interface Plan {
  readonly weightsBytes: number;
  readonly kvBytesPerToken: number;
}

export function createStageFiles(options: StageFilesOptions, parts: StageFilesParts = {}): StageFileSource {
  const store = new StageFileStore(options, parts);
  return { prepare: (request, hooks) => store.prepare(request, hooks) };
}

class StageFileStore {
  readonly #directory: string;
  readonly #cache: StageCache;
  readonly #fetch: RangeFetcher;
  readonly #writeStage: typeof writeStage;
  readonly #freeBytes: (directory: string) => Promise<number>;
  readonly #wait: ModelFetchOptions["wait"];
  readonly #onCorrupt: (error: NoodleError) => void;

  constructor(options: StageFilesOptions, parts: StageFilesParts) {
    this.#directory = options.directory;
    this.#cache = new StageCache(options.directory, options.cacheLimitBytes ?? Number.POSITIVE_INFINITY);
    this.#fetch = parts.fetch ?? createRangeFetcher(options.coordinator, options.security);
    this.#writeStage = parts.writeStage ?? writeStage;
    this.#freeBytes = parts.freeBytes ?? readFreeBytes;
    this.#wait =
      parts.wait ?? ((attempt, signal) => sleep(RETRY_MS * attempt, undefined, { signal }).catch(() => undefined));
    this.#onCorrupt = options.onCorrupt ?? ((): void => undefined);
  }

  /**
   * @throws STAGE_CORRUPT when the model's bytes are not those of its identity; DISK_FULL; MODEL_UNVERIFIED and
   * CUT_ILLEGAL as `planStage`; the transfer's error when the model cannot be had
   */
  async prepare(request: StageFileRequest, hooks: StageFileHooks): Promise<PreparedStage> {
    try {
      await mkdir(this.#directory, { recursive: true });
    } catch (error) {
      throw NoodleError.from(error);
    }
    const kept = await this.#fromCache(request, hooks);
    if (kept !== undefined) return kept;
    const local = await openLocal(request.model);
    if (local !== undefined) {
      try {
        return await this.#fromLocal(local, request, hooks);
      } catch (error) {
        if (!(error instanceof NoodleError) || error.code !== "STAGE_CORRUPT") throw error;
        // The coordinator's file may be sound where this one is not.
        this.#onCorrupt(error);
      } finally {
        await local.close();
      }
    }
    return await this.#fromNetwork(request, hooks);
  }

  async #fromCache(request: StageFileRequest, hooks: StageFileHooks): Promise<PreparedStage | undefined> {
    const key = keyOf(request);
    const facts = await this.#cache.find(key);
    if (facts === undefined) return undefined;
    hooks.checkSizes({ weightsBytes: facts.weightsBytes, kvBytes: kvBytes(facts, request) });
    try {
      await this.#cache.verify(key, facts, hooks.signal);
    } catch (error) {
      if (!(error instanceof NoodleError) || error.code !== "STAGE_CORRUPT") throw error;
      this.#onCorrupt(error);
      return undefined;
    }
    return { path: this.#cache.pathOf(key), weightsBytes: facts.weightsBytes, receivedBytes: 0 };
  }

  async #fromLocal(file: GgufFile, request: StageFileRequest, hooks: StageFileHooks): Promise<PreparedStage> {
    const plan = planFrom(file, request);
    hooks.checkSizes({ weightsBytes: plan.weightsBytes, kvBytes: kvBytes(plan, request) });
    if (isWholeFile(file, request)) {
      // All of it: no copy is needed, only the certainty that it is the same.
      const sha256 = await hashFile(file.path, hooks.signal);
      if (sha256 === hexOf(request.model.sourceSha256)) {
        return { path: file.path, weightsBytes: plan.weightsBytes, receivedBytes: 0 };
      }
      throw new NoodleError("STAGE_CORRUPT", `${file.path} has SHA-256 ${sha256}, not that of the model`);
    }
    return await this.#write(file, plan, request, hooks, 0);
  }

  async #fromNetwork(request: StageFileRequest, hooks: StageFileHooks): Promise<PreparedStage> {
    const { model, units, unverified } = request;
    const directory = join(this.#directory, "partial", hexOf(model.sourceSha256).slice(0, 40));
    await mkdir(join(this.#directory, "partial"), { recursive: true });
    const lock = await waitForLock(`${directory}.lock`, hooks.signal);
    try {
      // Whoever held the lock may have made the very file.
      const kept = await this.#fromCache(request, hooks);
      if (kept !== undefined) return kept;
      const mirror = await ModelMirror.open(directory, model.shardBytes.map(Number));
      try {
        const fetchOptions = { fetch: this.#fetch, signal: hooks.signal, wait: this.#wait };
        await fetchHeaders(mirror, model, fetchOptions);
        const file = await openMirrored(mirror, model);
        try {
          const plan = planFrom(file, request);
          hooks.checkSizes({ weightsBytes: plan.weightsBytes, kvBytes: kvBytes(plan, request) });
          const wanted = neededRanges(file.header, units, { allowUnverified: unverified }).map(
            ({ shard, fileOffset, bytes }) => ({ shard, offset: fileOffset, length: bytes }),
          );
          const missingBytes = countBytes(mirror.missing(wanted));
          await this.#requireSpace(missingBytes + plan.weightsBytes);
          const bytesTotal = countBytes(wanted);
          let bytesDone = bytesTotal - missingBytes;
          const receivedBytes = await fetchMissing(mirror, model, wanted, fetchOptions, (bytes) => {
            bytesDone += bytes;
            hooks.onProgress({ bytesDone, bytesTotal });
          });
          const prepared = await this.#write(file, plan, request, hooks, receivedBytes);
          await mirror.remove();
          return prepared;
        } finally {
          await file.close();
        }
      } catch (error) {
        if (isWithoutFuture(NoodleError.from(error))) await mirror.remove();
        throw error;
      } finally {
        await mirror.close();
      }
    } finally {
      lock.release();
    }
  }

  async #write(
    file: GgufFile,
    plan: Plan,
    request: StageFileRequest,
    hooks: StageFileHooks,
    receivedBytes: number,
  ): Promise<PreparedStage> {
    const { weightsBytes, kvBytesPerToken } = plan;
    const { model, units, unverified } = request;
    const key = keyOf(request);
    const path = this.#cache.pathOf(key);
    await this.#cache.makeRoom(weightsBytes, key, Date.now());
    await this.#requireSpace(weightsBytes);
    const written = await this.#writeStage(sourceFromFile(file), file.header, units, path, {
      allowUnverified: unverified,
      hashes: hashesOf(model),
      onProgress: (bytesDone, bytesTotal) => hooks.onProgress({ bytesDone, bytesTotal }),
      signal: hooks.signal,
    });
    await this.#cache.commit(key, { sha256: written.sha256, bytes: written.bytes, weightsBytes, kvBytesPerToken });
    return { path, weightsBytes, receivedBytes };
  }

  /** Says so before anything is written; what fills up meanwhile is found by the writer. */
  async #requireSpace(bytes: number): Promise<void> {
    const freeBytes = await this.#freeBytes(this.#directory);
    if (bytes <= freeBytes) return;
    const text = `${this.#directory} has ${freeBytes} bytes free, ${bytes} are needed (--data)`;
    throw new NoodleError("DISK_FULL", text, { details: { freeBytes, neededBytes: bytes } });
  }
}

/** What was fetched may not stay: a full disk is to be freed, and bytes that are not the model's are of no use. */
function isWithoutFuture({ code }: NoodleError): boolean {
  return code === "DISK_FULL" || code === "STAGE_CORRUPT" || code.startsWith("GGUF_");
}

/** The model's file as this machine has it, if it is the same by its sizes and its header. */
async function openLocal(model: ModelIdentity): Promise<GgufFile | undefined> {
  if (model.path === "") return undefined;
  let file: GgufFile;
  try {
    file = await openGguf(model.path);
  } catch (error) {
    // Not here, not readable, or another file of this name: then it is fetched.
    if (error instanceof NoodleError) return undefined;
    throw error;
  }
  const sizes = file.header.shards.map(({ bytes }) => BigInt(bytes));
  const isSameSize = sizes.length === model.shardBytes.length && sizes.every((size, i) => size === model.shardBytes[i]);
  if (isSameSize && (await file.headerSha256()) === hexOf(model.headerSha256)) return file;
  await file.close();
  return undefined;
}

/** @throws STAGE_CORRUPT when the headers that came are not the model's */
async function openMirrored(mirror: ModelMirror, model: ModelIdentity): Promise<GgufFile> {
  const file = await openGguf(mirror.modelPath);
  const sha256 = await file.headerSha256();
  const expectedSha256 = hexOf(model.headerSha256);
  if (sha256 === expectedSha256) return file;
  await file.close();
  throw new NoodleError("STAGE_CORRUPT", `the header that came has SHA-256 ${sha256}, expected ${expectedSha256}`);
}

function planFrom(file: GgufFile, { units, unverified }: StageFileRequest): Plan {
  const { weightsBytes } = planStage(file.header, units, { allowUnverified: unverified });
  const described = describeModel(file.header, file.fileBytes).units.slice(units.first, units.end);
  return { weightsBytes, kvBytesPerToken: described.reduce((sum, unit) => sum + unit.kvBytesPerToken, 0) };
}

function isWholeFile(file: GgufFile, { units }: StageFileRequest): boolean {
  const unitCount = describeModel(file.header, file.fileBytes).units.length;
  return file.header.shards.length === 1 && units.first === 0 && units.end === unitCount;
}

function kvBytes(plan: Pick<Plan, "kvBytesPerToken">, { contextTokens, parallel }: StageFileRequest): number {
  return plan.kvBytesPerToken * contextTokens * parallel;
}

function hashesOf(model: ModelIdentity): ModelHashes {
  return {
    sourceSha256: hexOf(model.sourceSha256),
    headerSha256: hexOf(model.headerSha256),
    sourceBytes: model.shardBytes.reduce((sum, bytes) => sum + Number(bytes), 0),
    tensors: model.tensors.map(({ name, sha256 }) => ({ name, sha256: hexOf(sha256) })),
  };
}

function keyOf({ model, units }: StageFileRequest): string {
  return StageCache.keyOf(hexOf(model.sourceSha256), units);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}

async function waitForLock(path: string, signal: AbortSignal): Promise<FileLock> {
  for (;;) {
    const lock = tryLock(path);
    if (lock !== undefined) return lock;
    if (signal.aborted) throw new NoodleError("INTERRUPTED", `waiting for ${path} was stopped`);
    await sleep(LOCK_POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function readFreeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}
