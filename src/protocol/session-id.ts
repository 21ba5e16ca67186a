import { NoodleError } from "../common/index.ts";

/** Length of a session id on the wire. */
export const SESSION_ID_BYTES = 16;

const HEX = /^[0-9a-f]{32}$/;

/**
 * A session's 128-bit random id as 32 lower-case hexadecimal digits: the form that maps are keyed by. On the wire it is
 * 16 bytes.
 */
export type SessionId = string;

/** @throws FRAME_INVALID unless `bytes` are 16 */
export function readSessionId(bytes: Uint8Array): SessionId {
  if (bytes.length !== SESSION_ID_BYTES) {
    throw new NoodleError("FRAME_INVALID", `a session id has ${SESSION_ID_BYTES} bytes, this one ${bytes.length}`);
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, SESSION_ID_BYTES).toString("hex");
}

/** @throws FRAME_INVALID unless `id` has 32 lower-case hexadecimal digits */
export function writeSessionId(id: SessionId): Uint8Array {
  if (!HEX.test(id)) throw new NoodleError("FRAME_INVALID", `a session id has 32 hexadecimal digits, not "${id}"`);
  return new Uint8Array(Buffer.from(id, "hex"));
}
