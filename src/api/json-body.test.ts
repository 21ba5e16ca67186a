import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { readJsonBody } from "./json-body.ts";

const LIMITS = { jsonDepth: 4, jsonMembers: 8 };

function codeOf(bytes: Uint8Array | string): string {
  try {
    readJsonBody(typeof bytes === "string" ? Buffer.from(bytes) : bytes, LIMITS);
    return "read";
  } catch (error) {
    return NoodleError.from(error).code;
  }
}

describe("a body of JSON", () => {
  it("is what JSON.parse makes of it, whatever strings hold", () => {
    const document = {
      quote: '"',
      backslash: "\\",
      brackets: "[[[[[[[[{{{{{{",
      colons: "::::::::::::",
      text: "wörld 😀",
    };
    expect(readJsonBody(Buffer.from(JSON.stringify(document)), LIMITS)).toEqual(document);
  });

  it("is nested up to the limit and no deeper", () => {
    expect(codeOf("[[[[1]]]]")).toBe("read");
    expect(codeOf("[[[[[1]]]]]")).toBe("LIMIT_EXCEEDED");
    expect(codeOf("[".repeat(100_000))).toBe("LIMIT_EXCEEDED");
  });

  it("has as many members as the limit and no more", () => {
    const make = (members: number): string =>
      JSON.stringify(Object.fromEntries(Array.from({ length: members }, (_, i) => [`k${i}`, i])));
    // The object itself counts too.
    expect(codeOf(make(7))).toBe("read");
    expect(codeOf(make(8))).toBe("LIMIT_EXCEEDED");
    expect(codeOf("[[],[],[],[],[],[],[]]")).toBe("read");
    expect(codeOf("[[],[],[],[],[],[],[],[]]")).toBe("LIMIT_EXCEEDED");
  });

  it("is refused when its bytes are no UTF-8, instead of being read as something else", () => {
    for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
      const body = Buffer.concat([Buffer.from('{"prompt":"'), Buffer.from(bytes), Buffer.from('"}')]);
      expect(codeOf(body)).toBe("REQUEST_INVALID");
    }
  });

  it("is refused when it is empty or no JSON", () => {
    for (const text of ["", " ", "{", '{"a":}', "{'a':1}", "undefined", '{"a":1}x']) {
      expect(codeOf(text)).toBe("REQUEST_INVALID");
    }
  });

  it("ends in a document or a typed error, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(["read", "REQUEST_INVALID", "LIMIT_EXCEEDED"]).toContain(codeOf(bytes));
      }),
      { numRuns: 300, seed: 7 },
    );
  });
});
