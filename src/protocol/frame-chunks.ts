import { NoodleError } from "../common/index.ts";
import { FRAME_MAX_BYTES, MESSAGE_CAP_BYTES } from "./constants.ts";

/**
 * Every chunk of a frame but its last is at least this long: without it, a peer could make the receiver keep an object
 * for each byte.
 */
const MIN_CHUNK_BYTES = 64 * 1024;

/** Cuts bytes into views of at most `capBytes`, in order; at least one. */
export function splitIntoChunks(bytes: Uint8Array, capBytes: number = MESSAGE_CAP_BYTES): Uint8Array[] {
  if (!Number.isInteger(capBytes) || capBytes < MIN_CHUNK_BYTES) {
    throw new NoodleError("ILLEGAL_STATE", `chunk cap ${capBytes} is below ${MIN_CHUNK_BYTES} bytes`);
  }
  if (bytes.length <= capBytes) return [bytes];
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += capBytes) chunks.push(bytes.subarray(at, at + capBytes));
  return chunks;
}

/** Puts the chunks of one stream's frames together again; holds at most one unfinished frame of bounded size. */
export class FrameAssembler {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number = FRAME_MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of the unfinished frame. */
  get pendingBytes(): number {
    return this.#bytes;
  }

  /**
   * @param data  kept until the frame is complete; a frame of one chunk is returned as it came, without a copy
   * @returns     the frame's bytes after its last chunk, null before
   * @throws FRAME_INVALID when the frame grows beyond the maximum or a chunk is too short; the unfinished frame is
   * dropped, and the stream should be ended since its next chunk has no beginning
   */
  push(data: Uint8Array, last: boolean): Uint8Array | null {
    if (data.length === 0 || (!last && data.length < MIN_CHUNK_BYTES)) {
      this.#reset();
      throw new NoodleError(
        "FRAME_INVALID",
        `a chunk of ${data.length} bytes, the least is ${last ? 1 : MIN_CHUNK_BYTES}`,
      );
    }
    const bytes = this.#bytes + data.length;
    if (bytes > this.#maxBytes) {
      this.#reset();
      throw new NoodleError("FRAME_INVALID", `a frame of at least ${bytes} bytes, the limit is ${this.#maxBytes}`);
    }
    if (last && this.#chunks.length === 0) return data;
    this.#chunks.push(data);
    this.#bytes = bytes;
    if (!last) return null;
    const frame = Buffer.concat(this.#chunks, bytes);
    this.#reset();
    return frame;
  }

  #reset(): void {
    this.#chunks = [];
    this.#bytes = 0;
  }
}
