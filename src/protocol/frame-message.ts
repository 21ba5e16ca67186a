import { MESSAGE_CAP_BYTES } from "./constants.ts";
import type { Frame } from "./frame.ts";
import { splitIntoChunks } from "./frame-chunks.ts";
import { encodeFrame, frameBytes, writeFrame } from "./frame-encode.ts";

/*
 * A frame travels as ForwardRequest { chunk: FrameChunk { data, last } }. The general encoder would copy the data twice
 * on its way into the nested message; this one writes the frame where it belongs. Its lengths are varints of fixed, so
 * not minimal, size (every protobuf reader takes them): with the 5 bytes that gRPC puts before a message, the data then
 * starts at a multiple of 16, and the receiver views the hidden states in place.
 */

/** ForwardRequest.chunk, wire type 2. */
const TAG_CHUNK = (2 << 3) | 2;
/** FrameChunk.data, wire type 2. */
const TAG_DATA = (1 << 3) | 2;
/** FrameChunk.last, wire type 0. */
const TAG_LAST = 2 << 3;

const CHUNK_LENGTH_BYTES = 4;
const DATA_LENGTH_BYTES = 5;
const PREFIX_BYTES = 1 + CHUNK_LENGTH_BYTES + 1 + DATA_LENGTH_BYTES;
const SUFFIX_BYTES = 2;

/**
 * Encodes a frame as the ForwardRequest messages that carry it, in order; nearly always one.
 *
 * @throws FRAME_INVALID as `encodeFrame`
 */
export function encodeFrameMessages(frame: Frame, capBytes: number = MESSAGE_CAP_BYTES): Uint8Array[] {
  const bytes = frameBytes(frame);
  if (bytes <= capBytes) {
    const message = allocateMessage(bytes, true);
    writeFrame(frame, message.subarray(PREFIX_BYTES, PREFIX_BYTES + bytes));
    return [message];
  }
  const chunks = splitIntoChunks(encodeFrame(frame), capBytes);
  return chunks.map((chunk, index) => {
    const message = allocateMessage(chunk.length, index === chunks.length - 1);
    message.set(chunk, PREFIX_BYTES);
    return message;
  });
}

function allocateMessage(dataBytes: number, last: boolean): Buffer {
  const suffixBytes = last ? SUFFIX_BYTES : 0;
  const message = Buffer.allocUnsafeSlow(PREFIX_BYTES + dataBytes + suffixBytes);
  message[0] = TAG_CHUNK;
  writeVarint(message, 1, CHUNK_LENGTH_BYTES, message.length - 1 - CHUNK_LENGTH_BYTES);
  message[1 + CHUNK_LENGTH_BYTES] = TAG_DATA;
  writeVarint(message, 2 + CHUNK_LENGTH_BYTES, DATA_LENGTH_BYTES, dataBytes);
  if (last) {
    message[message.length - 2] = TAG_LAST;
    message[message.length - 1] = 1;
  }
  return message;
}

/** `value` below 2^28, in exactly `length` bytes. */
function writeVarint(target: Uint8Array, at: number, length: number, value: number): void {
  for (let index = 0; index < length; index++) {
    const more = index < length - 1 ? 0x80 : 0;
    target[at + index] = ((value >>> (7 * index)) & 0x7f) | more;
  }
}
