import { describe, expect, it } from "vitest";
import { getAlignment, getArray, getBoolean, getNumber, getString, toSafeInteger } from "./metadata.ts";
import { scalar } from "./testing.ts";
import type { GgufMetadata, GgufValue } from "./types.ts";

const malformed = expect.objectContaining({ code: "GGUF_MALFORMED" });
const metadata: GgufMetadata = new Map<string, GgufValue>([
  ["text", scalar("string", "t")],
  ["float", scalar("float32", 0.5)],
  ["long", scalar("uint64", 2n ** 40n)],
  ["huge", scalar("uint64", 2n ** 60n)],
  ["yes", scalar("bool", true)],
  ["list", { type: "array", itemType: "int32", value: [1, 2] }],
]);

const alignmentOf = (value: GgufValue) => getAlignment(new Map([["general.alignment", value]]));

describe("metadata helpers", () => {
  it("read values of their type", () => {
    expect(getString(metadata, "text")).toBe("t");
    expect(getNumber(metadata, "float")).toBe(0.5);
    expect(getNumber(metadata, "long")).toBe(2 ** 40);
    expect(getBoolean(metadata, "yes")).toBe(true);
    expect(getArray(metadata, "list")).toEqual([1, 2]);
  });

  it("say undefined for an absent key", () => {
    for (const read of [getString, getNumber, getBoolean, getArray]) expect(read(metadata, "none")).toBeUndefined();
  });

  it("refuse a value of another type", () => {
    expect(() => getString(metadata, "list")).toThrow(malformed);
    expect(() => getNumber(metadata, "yes")).toThrow(malformed);
    expect(() => getBoolean(metadata, "float")).toThrow(malformed);
    expect(() => getArray(metadata, "text")).toThrow(malformed);
  });

  it("refuse a 64-bit integer that a number cannot hold", () => {
    expect(() => getNumber(metadata, "huge")).toThrow(malformed);
    expect(() => toSafeInteger(-(2n ** 53n), "x")).toThrow(malformed);
    expect(toSafeInteger(2n ** 53n - 1n, "x")).toBe(2 ** 53 - 1);
  });

  it("take alignment 32 when none is given, and powers of two from 8 to 1 MiB", () => {
    expect(getAlignment(new Map())).toBe(32);
    expect(alignmentOf(scalar("uint32", 8))).toBe(8);
    expect(alignmentOf(scalar("uint32", 2 ** 20))).toBe(2 ** 20);
    for (const bad of [0, 1, 4, 24, 33]) expect(() => alignmentOf(scalar("uint32", bad))).toThrow(malformed);
    expect(() => alignmentOf(scalar("uint64", 32n))).toThrow(malformed);
    expect(() => alignmentOf(scalar("uint32", 2 ** 21))).toThrow(
      expect.objectContaining({ code: "GGUF_LIMIT_EXCEEDED" }),
    );
  });
});
