import { crc32 } from "node:zlib";
import { NoodleError } from "../common/index.ts";
import type { SqlValue } from "./sqlite.ts";

/** Checksum over the values of a row, each with its type and length, so that no two rows read alike. */
export function sumOf(...values: readonly SqlValue[]): number {
  let sum = 0;
  for (const value of values) {
    const bytes = value instanceof Uint8Array ? value : Buffer.from(value === null ? "" : String(value));
    sum = crc32(`${typeof value}:${bytes.length};`, sum);
    sum = crc32(bytes, sum);
  }
  return sum;
}

/** @throws STATE_DAMAGED unless `sum` is that of the values */
export function checkSum(what: string, sum: unknown, ...values: readonly SqlValue[]): void {
  if (sum !== sumOf(...values)) throw new NoodleError("STATE_DAMAGED", `${what} fails its checksum`);
}

/** i32[n] as bytes, little-endian. A copy. */
export function writeTokens(tokens: readonly number[] | Int32Array): Uint8Array {
  const bytes = Buffer.alloc(tokens.length * 4);
  for (const [index, token] of tokens.entries()) bytes.writeInt32LE(token, index * 4);
  return bytes;
}

/** @throws STATE_DAMAGED for a length that is no whole number of tokens */
export function readTokens(value: unknown): number[] {
  if (!(value instanceof Uint8Array) || value.length % 4 !== 0) {
    throw new NoodleError("STATE_DAMAGED", "a row of tokens is not of whole tokens");
  }
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  return Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readInt32LE(index * 4));
}
