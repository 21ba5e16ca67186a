import { NoodleError } from "../common/index.ts";

/**
 * What a header may ask for. Models are downloaded from strangers: a length field is a wish, not a fact. Each limit
 * leaves a sound model ample room and keeps a hostile one from taking memory or time. Writing obeys the same limits,
 * so that whatever was written can be read again.
 */

const MIB = 1024 * 1024;

/** Everything before the data section. The largest vocabularies (262,144 tokens with merges) make headers of about 16 MiB. */
export const MAX_HEADER_BYTES = 128 * MIB;

/** First read of a header. Holds the whole of a small model's, and the first keys of any. */
export const FIRST_PREFIX_BYTES = MIB;

/** Metadata keys. Models have 20 to 80; a stage adds a manifest of fewer than ten. */
export const MAX_METADATA_KEYS = 4096;

/** The format's own bound on the length of a key. */
export const MAX_KEY_BYTES = 65_535;

/** All string bytes of one header: vocabulary, merges, chat templates. Four times the largest vocabulary known. */
export const MAX_STRING_BYTES_TOTAL = 64 * MIB;

/** Items of one array: eight times the longest known (514,906 merges). An item costs up to 32 bytes in memory. */
export const MAX_ARRAY_ITEMS = 4 * 1024 * 1024;

/** Items of all arrays of one header: bounds what parsing allocates at about 256 MiB, whatever the file says. */
export const MAX_ARRAY_ITEMS_TOTAL = 8 * 1024 * 1024;

/** Tensors of a model, all shards together. Mixtures of experts with one tensor per expert and block stay below 60,000. */
export const MAX_TENSORS = 65_536;

/** llama.cpp keeps a tensor's name in 64 bytes, the last of them zero. */
export const MAX_TENSOR_NAME_BYTES = 63;

/** llama.cpp's tensors have four dimensions. */
export const MAX_DIMS = 4;

/** The format demands a multiple of 8. */
export const MIN_ALIGNMENT = 8;

/** What holds when `general.alignment` is absent. */
export const DEFAULT_ALIGNMENT = 32;

/** Page sizes end at 64 KiB and huge pages are not used for files; more only inflates the file. */
export const MAX_ALIGNMENT = MIB;

/** Each shard keeps a file open; processes are commonly allowed 1,024. The largest models come in about 100 shards. */
export const MAX_SHARDS = 512;

/** One call to read or write the disk. Small enough to report progress and to stop in time. */
export const IO_CHUNK_BYTES = 4 * MIB;

/** @throws NoodleError `GGUF_LIMIT_EXCEEDED` naming value and limit. */
export function checkLimit(what: string, value: number | bigint, limit: number): void {
  if (value > limit) {
    throw new NoodleError("GGUF_LIMIT_EXCEEDED", `${what}: ${value}, limit is ${limit}`, {
      details: { value: value.toString(), limit },
    });
  }
}
