import { basename, dirname, join } from "node:path";
import { NoodleError } from "../common/index.ts";
import { MAX_SHARDS, MAX_TENSORS, checkLimit } from "./limits.ts";
import { getNumber } from "./metadata.ts";
import { quoteName } from "./text.ts";
import type { GgufHeader, GgufTensor } from "./types.ts";
import { SPLIT_COUNT_KEY, SPLIT_NO_KEY, SPLIT_TENSORS_KEY } from "./wire.ts";

/** Which shard of which set a header says it is. */
export interface SplitPosition {
  /** From 0. */
  readonly no: number;
  readonly count: number;
}

/** @returns undefined for a model in one file. @throws NoodleError `GGUF_MALFORMED`, `GGUF_LIMIT_EXCEEDED` */
export function readSplitPosition(header: GgufHeader, path: string): SplitPosition | undefined {
  const count = getNumber(header.metadata, SPLIT_COUNT_KEY) ?? 0;
  if (count === 0 || count === 1) return undefined;
  checkLimit(`${path}: ${SPLIT_COUNT_KEY}`, count, MAX_SHARDS);
  const no = getNumber(header.metadata, SPLIT_NO_KEY);
  if (no === undefined || !Number.isInteger(count) || !Number.isInteger(no) || no < 0 || no >= count) {
    throw new NoodleError("GGUF_MALFORMED", `${path}: ${SPLIT_NO_KEY} is ${no}, ${SPLIT_COUNT_KEY} is ${count}`, {
      details: { path, no, count },
    });
  }
  return { no, count };
}

/**
 * Paths of all shards of the set that `path` belongs to, by the one naming scheme there is:
 * `name-00001-of-00003.gguf`, numbers from 1.
 *
 * @throws NoodleError `GGUF_MALFORMED` when the name does not say what the header says
 */
export function listShardPaths(path: string, { no, count }: SplitPosition): readonly string[] {
  const suffix = shardSuffix(no, count);
  const name = basename(path);
  if (!name.endsWith(suffix)) {
    throw new NoodleError(
      "GGUF_MALFORMED",
      `${path}: shard ${no + 1} of ${count} must be named "...${suffix}", or the others cannot be found`,
      { details: { path, suffix } },
    );
  }
  const prefix = name.slice(0, -suffix.length);
  return Array.from({ length: count }, (_, index) => join(dirname(path), prefix + shardSuffix(index, count)));
}

/**
 * Joins the headers of a set, in order. Metadata are the first shard's, as in llama.cpp.
 *
 * @throws NoodleError `GGUF_MALFORMED` when the shards do not belong together; `GGUF_LIMIT_EXCEEDED`
 */
export function mergeShardHeaders(first: GgufHeader, others: readonly GgufHeader[]): GgufHeader {
  const headers = [first, ...others];
  const shards = headers.flatMap((header) => header.shards);
  const tensors: GgufTensor[] = [];
  const names = new Set<string>();
  for (const [index, header] of headers.entries()) {
    const path = shards[index]?.path ?? "";
    const position = readSplitPosition(header, path);
    if (position?.no !== index || position.count !== headers.length) {
      const found = position === undefined ? "no shard" : `shard ${position.no + 1} of ${position.count}`;
      throw mismatch(path, `it says it is ${found}, expected shard ${index + 1} of ${headers.length}`);
    }
    if (header.version !== first.version) {
      throw mismatch(path, `it has version ${header.version}, the first shard has ${first.version}`);
    }
    for (const tensor of header.tensors) {
      if (names.has(tensor.name)) throw mismatch(path, `tensor ${quoteName(tensor.name)} is in another shard, too`);
      names.add(tensor.name);
      tensors.push({ ...tensor, shard: index });
    }
    checkLimit(`${path}: tensors of all shards`, tensors.length, MAX_TENSORS);
  }
  const declared = getNumber(first.metadata, SPLIT_TENSORS_KEY);
  if (declared !== undefined && declared !== tensors.length) {
    throw mismatch(shards[0]?.path ?? "", `${SPLIT_TENSORS_KEY} is ${declared}, the shards hold ${tensors.length}`);
  }
  return { ...first, tensors, shards };
}

function shardSuffix(no: number, count: number): string {
  return `-${String(no + 1).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.gguf`;
}

function mismatch(path: string, problem: string): NoodleError {
  return new NoodleError("GGUF_MALFORMED", `${path}: the shards do not belong together: ${problem}`, {
    details: { path },
  });
}
