/**
 * Where a worker's stage files come from, and where they are kept. The directory holds
 *
 *   <key>.gguf           a finished stage; the key is a hash of the source's SHA-256, the units and the recipe's version
 *   <key>.json           its SHA-256 and sizes; the time of its last change is that of the file's last use
 *   partial/<source>/    a model that is being fetched: sparse copies of its shards, and progress.jsonl, which records
 *                        the pieces that are there with their CRC32C
 *   partial/<source>.lock  process id of the worker that fetches it
 *
 * Files get their names when they are complete, so workers may share a directory.
 */
export { type FileLock, tryLock } from "./lock.ts";
export { createStageFiles, type StageFilesOptions } from "./store.ts";
export type { PreparedStage, StageFileHooks, StageFileRequest, StageFileSource, StageSizes } from "./types.ts";
