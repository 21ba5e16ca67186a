import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { readSessionId, writeSessionId } from "./session-id.ts";

describe("session ids", () => {
  it("go to bytes and back", () => {
    const bytes = Uint8Array.from({ length: 16 }, (_, index) => 255 - index * 3);
    expect(writeSessionId(readSessionId(bytes))).toEqual(bytes);
    expect(readSessionId(new Uint8Array(20).subarray(2, 18))).toBe("0".repeat(32));
  });

  it.each([0, 15, 17])("have no %i bytes", (length) => {
    expect(() => readSessionId(new Uint8Array(length))).toThrow(NoodleError);
  });

  it.each(["", "00", "G".repeat(32), "A".repeat(32), "0".repeat(33)])("are not %j", (text) => {
    expect(() => writeSessionId(text)).toThrow(NoodleError);
  });
});
