import { describe, expect, it } from "vitest";
import { crc32c } from "./crc32c.ts";

/** The definition, bit by bit. */
function crc32cByBits(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

describe("crc32c", () => {
  // RFC 3720, appendix B.4.
  it.each([
    ["32 zeros", new Uint8Array(32), 0x8a9136aa],
    ["32 ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ["0 to 31", Uint8Array.from({ length: 32 }, (_, index) => index), 0x46dd794e],
    ["31 to 0", Uint8Array.from({ length: 32 }, (_, index) => 31 - index), 0x113fdb5c],
    ["the digits 1 to 9", new TextEncoder().encode("123456789"), 0xe3069283],
    ["nothing", new Uint8Array(0), 0],
  ])("gives the published checksum of %s", (_name, bytes, expected) => {
    expect(crc32c(bytes)).toBe(expected);
  });

  it("agrees with the definition for every length and alignment", () => {
    const source = Uint8Array.from({ length: 120 }, (_, index) => (index * 151 + 7) & 255);
    for (let start = 0; start < 9; start++) {
      for (let length = 0; length <= 100; length++) {
        const bytes = source.subarray(start, start + length);
        expect(crc32c(bytes), `start ${start}, length ${length}`).toBe(crc32cByBits(bytes));
      }
    }
  });

  it("continues from the checksum of what came before", () => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, index) => (index * 31) & 255);
    for (const cut of [0, 1, 15, 16, 17, 500, 999, 1000]) {
      expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(crc32c(bytes));
    }
  });
});
