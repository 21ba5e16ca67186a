import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeText, encodeText, quoteName } from "./text.ts";

const decode = (bytes: Uint8Array) => decodeText(Buffer.from(bytes), 0, bytes.length);

describe("strings of the file", () => {
  it("keep a byte order mark, a zero byte and a genuine replacement character", () => {
    const text = "\ufeffa\0\ufffd";
    expect(decode(Buffer.from(text))).toBe(text);
  });

  it("stand for broken bytes by lone surrogates, and only for those", () => {
    expect(decode(Uint8Array.of(0x61, 0xff, 0xc3, 0xa9, 0xc3))).toBe("a\udcff\u00e9\udcc3");
  });

  it("treat overlong forms, encoded surrogates and what is beyond U+10FFFF as broken", () => {
    for (const bytes of [
      [0xc0, 0xaf],
      [0xe0, 0x80, 0xaf],
      [0xed, 0xa0, 0x80],
      [0xf0, 0x80, 0x80, 0xaf],
      [0xf4, 0x90, 0x80, 0x80],
    ]) {
      expect(decode(Uint8Array.from(bytes))).toBe(String.fromCharCode(...bytes.map((byte) => 0xdc00 + byte)));
    }
  });

  it("come out as the bytes that went in, whatever they were", () => {
    const pieces = fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 6 }),
        fc.string({ unit: "binary", maxLength: 6 }).map((text) => new Uint8Array(Buffer.from(text))),
      ),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(pieces, (parts) => {
        const bytes = Buffer.concat(parts);
        expect(Buffer.from(encodeText(decode(bytes)))).toEqual(bytes);
      }),
      { seed: 1, numRuns: 2000 },
    );
  });

  it("refuse a surrogate that stands for no byte", () => {
    for (const text of ["\ud800", "x\udc7f", "\udd00y"]) {
      expect(() => encodeText(text)).toThrow(expect.objectContaining({ code: "GGUF_MALFORMED" }));
    }
  });

  it("are cut short in messages", () => {
    expect(quoteName("k".repeat(60_000)).length).toBeLessThan(120);
    expect(quoteName("a\n")).toBe('"a\\n"');
  });
});
