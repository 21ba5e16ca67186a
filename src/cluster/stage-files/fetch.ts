import { must, NoodleError } from "../../common/index.ts";
import { type ClientSecurity, createClient } from "../../net/index.ts";
import { crc32c, TransferService } from "../../protocol/index.ts";
import type { FileRange } from "./ranges.ts";

export interface FetchedPiece {
  readonly shard: number;
  /** In the shard. */
  readonly offset: number;
  /** Valid until the next piece. */
  readonly data: Uint8Array;
  readonly crc32c: number;
}

/** Asks whoever has the model for ranges of it; they come in order, in pieces whose checksum was compared. */
export type RangeFetcher = (
  sourceSha256: Uint8Array,
  ranges: readonly FileRange[],
  signal: AbortSignal,
) => AsyncIterable<FetchedPiece>;

/**
 * Fetches from the coordinator, over a connection that nothing else uses.
 *
 * @param address host:port
 */
export function createRangeFetcher(address: string, security?: ClientSecurity): RangeFetcher {
  return async function* fetchRanges(sourceSha256, ranges, signal) {
    const client = createClient(TransferService, address, { security });
    try {
      const request = {
        sourceSha256,
        ranges: ranges.map(({ shard, offset, length }) => ({ shard, offset: BigInt(offset), length: BigInt(length) })),
      };
      for await (const chunk of client.rpc.fetchRanges(request, { signal })) {
        const range = must(ranges[chunk.range], "range of a chunk");
        const offset = Number(chunk.offset);
        const { data } = chunk;
        if (offset < range.offset || offset + data.length > range.offset + range.length) {
          throw new NoodleError("FRAME_INVALID", `${data.length} bytes at ${offset} came, which nobody asked for`);
        }
        if (crc32c(data) !== chunk.crc32c) {
          throw new NoodleError(
            "FRAME_CORRUPT",
            `the bytes at ${offset} of shard ${range.shard} were damaged on the way`,
          );
        }
        yield { shard: range.shard, offset, data, crc32c: chunk.crc32c };
      }
    } finally {
      client.close();
    }
  };
}
