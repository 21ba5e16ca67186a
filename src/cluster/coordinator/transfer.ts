import { type MessageInitShape } from "@bufbuild/protobuf";
import { NoodleError } from "../../common/index.ts";
import { crc32c, type FetchRangesRequest, type RangeChunkSchema } from "../../protocol/index.ts";
import { toNumber } from "./convert.ts";
import type { ModelSource } from "./model-source.ts";

/** Largest piece of one message, so that a slow reader holds little. */
const CHUNK_BYTES = 1024 * 1024;

/** More than the tensors of any model. */
const MAX_RANGES = 65_536;

/** Transfers that read the model at once, each holding a few chunks; others wait for their turn. */
const MAX_TRANSFERS = 16;

/** Hands out the model's bytes. One chunk is read at a time, when the reader has room for it. */
export class TransferHandler {
  readonly #source: ModelSource;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(source: ModelSource) {
    this.#source = source;
  }

  /**
   * @throws STAGE_CORRUPT when the worker wants another model than this one; FRAME_INVALID for a range that the file
   * does not have
   */
  async *fetchRanges(
    request: FetchRangesRequest,
    signal: AbortSignal,
  ): AsyncGenerator<MessageInitShape<typeof RangeChunkSchema>, void, undefined> {
    const ranges = this.#check(request);
    await this.#enter();
    try {
      for (const [index, { shard, offset, length }] of ranges.entries()) {
        let at = offset;
        for await (const data of this.#source.streamRange(shard, offset, length, CHUNK_BYTES)) {
          if (signal.aborted) return;
          yield { range: index, offset: BigInt(at), data, crc32c: crc32c(data) };
          at += data.length;
        }
      }
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<void> {
    if (this.#running >= MAX_TRANSFERS) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
  }

  /** Hands the place to the next in line. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }

  #check(request: FetchRangesRequest): readonly { shard: number; offset: number; length: number }[] {
    const { identity } = this.#source;
    if (Buffer.compare(request.sourceSha256, identity.sourceSha256) !== 0) {
      const wanted = Buffer.from(request.sourceSha256.subarray(0, 32)).toString("hex");
      throw new NoodleError("STAGE_CORRUPT", `model ${wanted} is wanted, this coordinator serves another`);
    }
    if (request.ranges.length > MAX_RANGES) {
      throw new NoodleError("FRAME_INVALID", `${request.ranges.length} ranges at once, the limit is ${MAX_RANGES}`);
    }
    return request.ranges.map((range) => {
      const offset = toNumber(range.offset, "range offset");
      const length = toNumber(range.length, "range length");
      const bytes = identity.shardBytes[range.shard];
      if (bytes === undefined || offset + length > Number(bytes)) {
        throw new NoodleError(
          "FRAME_INVALID",
          `${length} bytes at ${offset} of shard ${range.shard}, which has ${bytes ?? 0n}`,
        );
      }
      return { shard: range.shard, offset, length };
    });
  }
}
