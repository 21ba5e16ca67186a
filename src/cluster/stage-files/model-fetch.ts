import { must, NoodleError } from "../../common/index.ts";
import { parseGgufHeader, PrefixTooShort } from "../../gguf/index.ts";
import type { ModelIdentity } from "../../protocol/index.ts";
import type { RangeFetcher } from "./fetch.ts";
import type { ModelMirror } from "./mirror.ts";
import { countBytes, type FileRange } from "./ranges.ts";

/** First guess at the length of a header. Tokenizers make it longer than the weights of a few layers of tiny models. */
const FIRST_PREFIX_BYTES = 256 * 1024;

/** Attempts that bring nothing new before giving up. */
const FRUITLESS_ATTEMPTS = 4;

export interface ModelFetchOptions {
  readonly fetch: RangeFetcher;
  readonly signal: AbortSignal;
  /** Waits before attempt `attempt`, from 1. */
  readonly wait: (attempt: number, signal: AbortSignal) => Promise<void>;
}

/** Brings the headers of all shards into the mirror. */
export async function fetchHeaders(
  mirror: ModelMirror,
  model: ModelIdentity,
  options: ModelFetchOptions,
): Promise<void> {
  for (const [shard, size] of model.shardBytes.entries()) {
    const bytes = Number(size);
    let length = Math.min(bytes, FIRST_PREFIX_BYTES);
    for (;;) {
      await fetchMissing(mirror, model, [{ shard, offset: 0, length }], options);
      try {
        parseGgufHeader(await mirror.readPrefix(shard, length), bytes, `${model.path}, shard ${shard}`);
        break;
      } catch (error) {
        if (!(error instanceof PrefixTooShort) || length === bytes) throw error;
        length = Math.min(bytes, Math.max(error.neededBytes, 2 * length));
      }
    }
  }
}

/**
 * Brings what is missing of `wanted` into the mirror, over as many connections as it takes.
 *
 * @returns bytes that came
 * @throws the last error when attempts bring nothing any more; INTERRUPTED; DISK_FULL
 */
export async function fetchMissing(
  mirror: ModelMirror,
  model: ModelIdentity,
  wanted: readonly FileRange[],
  options: ModelFetchOptions,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<number> {
  const { fetch, signal, wait } = options;
  let receivedBytes = 0;
  let fruitless = 0;
  let lastError: NoodleError | undefined;
  for (;;) {
    const missing = mirror.missing(wanted);
    if (missing.length === 0) return receivedBytes;
    if (fruitless === FRUITLESS_ATTEMPTS) throw must(lastError, "error of the last attempt");
    if (fruitless > 0) await wait(fruitless, signal);
    fruitless += 1;
    try {
      for await (const piece of fetch(model.sourceSha256, missing, signal)) {
        if (signal.aborted) break;
        await mirror.write(piece.shard, piece.offset, piece.data, piece.crc32c);
        receivedBytes += piece.data.length;
        fruitless = 1;
        onBytes(piece.data.length);
      }
      const left = countBytes(mirror.missing(wanted));
      lastError = new NoodleError("PEER_DEAD", `the transfer ended with ${left} bytes missing`);
    } catch (error) {
      lastError = NoodleError.from(error);
      if (!isWorthRetrying(lastError)) throw lastError;
    }
    if (signal.aborted) throw new NoodleError("INTERRUPTED", "the transfer was stopped", { cause: lastError });
  }
}

function isWorthRetrying({ code, row }: NoodleError): boolean {
  return row.retryable && code !== "DISK_FULL" && code !== "STAGE_CORRUPT";
}
