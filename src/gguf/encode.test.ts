import { describe, expect, it } from "vitest";
import { encodeGgufHeader, type GgufHeaderInput } from "./encode.ts";
import { ggmlTypeByName } from "./ggml-types.ts";
import { parseGgufHeader } from "./parse.ts";
import { buildSmallGguf, countingBytes, GgufBytes, scalar, smallMetadata, smallTensors } from "./testing.ts";
import type { GgufScalar, GgufScalarType, GgufValue } from "./types.ts";

const code = (value: string) => expect.objectContaining({ code: value });
const f32 = ggmlTypeByName("f32");
const encode = (input: Partial<GgufHeaderInput>) =>
  encodeGgufHeader({ version: 3, byteOrder: "little", alignment: 32, metadata: new Map(), tensors: [], ...input });
const named = (...names: string[]) => encode({ tensors: names.map((name) => ({ name, dims: [8], type: f32 })) });
const shaped = (dims: number[], version: 1 | 3 = 3) => encode({ version, tensors: [{ name: "t", dims, type: f32 }] });
const encodeKey = (value: GgufValue, key = "k") => encode({ metadata: new Map([[key, value]]) });

describe("an encoded header", () => {
  for (const version of [1, 2, 3] as const) {
    for (const byteOrder of ["little", "big"] as const) {
      it(`of version ${version}, ${byteOrder}-endian, has the bytes that the format says`, () => {
        const { header, dataOffsets, dataBytes } = encode({
          version,
          byteOrder,
          metadata: smallMetadata(),
          tensors: smallTensors(),
        });
        const file = buildSmallGguf(version, byteOrder);
        expect(Buffer.from(header)).toEqual(Buffer.from(file.subarray(0, header.length)));
        expect(dataOffsets).toEqual([0, 32]);
        expect(header.length + dataBytes).toBe(file.length);
      });
    }
  }

  it("is that of a file without anything", () => {
    expect(Buffer.from(encode({}).header)).toEqual(Buffer.from(new GgufBytes().counts(0, 0).pad().build()));
  });

  it("keeps broken text as it was", () => {
    const file = new GgufBytes().counts(0, 2).key(Uint8Array.of(0xff), 8).str(Uint8Array.of(0x61, 0xc3));
    file.key("list", 9).u32(8).u64(1).str(countingBytes(255)).pad();
    const header = parseGgufHeader(file.build(), file.length);
    expect(Buffer.from(encodeGgufHeader(header).header)).toEqual(Buffer.from(file.build()));
  });

  it("places tensors beyond 2^32 bytes", () => {
    const big = { name: "a", dims: [2 ** 32, 3], type: f32 };
    const { dataOffsets, dataBytes } = encode({ tensors: [big, { name: "b", dims: [1], type: f32 }] });
    expect(dataOffsets).toEqual([0, 12 * 2 ** 32]);
    expect(dataBytes).toBe(12 * 2 ** 32 + 32);
  });

  it("grows with its contents", () => {
    const tokens = Array.from({ length: 50_000 }, (_, index) => `token${index}`);
    const { header } = encodeKey({ type: "array", itemType: "string", value: tokens });
    expect(parseGgufHeader(header, header.length).metadata.get("k")?.value).toEqual(tokens);
  });
});

describe("encoding", () => {
  const wrong: [GgufScalarType, GgufScalar][] = [
    ["uint8", 256],
    ["uint8", -1],
    ["int8", 128],
    ["uint16", 65_536],
    ["int16", -32_769],
    ["uint32", 2 ** 32],
    ["int32", 2 ** 31],
    ["uint32", 1.5],
    ["uint32", Number.NaN],
    ["uint32", 1n],
    ["uint32", "1"],
    ["uint64", 1],
    ["uint64", -1n],
    ["uint64", 2n ** 64n],
    ["int64", 2n ** 63n],
    ["float32", 1n],
    ["float64", "x"],
    ["bool", 1],
    ["string", 1],
    ["string", "\ud800"],
  ];
  it.each(wrong)("refuses a value that is no %s: %s", (type, value) => {
    expect(() => encodeKey(scalar(type, value))).toThrow(code("GGUF_MALFORMED"));
    expect(() => encodeKey({ type: "array", itemType: type, value: [value] })).toThrow(code("GGUF_MALFORMED"));
  });

  it("refuses names that are empty, hold a zero byte, are too long or are there twice", () => {
    expect(() => encodeKey(scalar("bool", true), "")).toThrow(code("GGUF_MALFORMED"));
    expect(() => encodeKey(scalar("bool", true), "a\0")).toThrow(code("GGUF_MALFORMED"));
    expect(() => encodeKey(scalar("bool", true), "k".repeat(65_536))).toThrow(code("GGUF_LIMIT_EXCEEDED"));
    expect(() => named("")).toThrow(code("GGUF_MALFORMED"));
    expect(() => named("é".repeat(32))).toThrow(code("GGUF_LIMIT_EXCEEDED"));
    expect(() => named("a", "b", "a")).toThrow(code("GGUF_MALFORMED"));
  });

  it("refuses an alignment other than the metadata's", () => {
    const metadata = new Map([["general.alignment", scalar("uint32", 64)]]);
    expect(() => encode({ metadata })).toThrow(code("GGUF_MALFORMED"));
    expect(encode({ metadata, alignment: 64 }).header.length % 64).toBe(0);
  });

  it("refuses shapes that do not fit", () => {
    expect(() => shaped([1, 1, 1, 1, 1])).toThrow(code("GGUF_LIMIT_EXCEEDED"));
    expect(() => shaped([0])).toThrow(code("GGUF_MALFORMED"));
    expect(() => shaped([2 ** 32], 1)).toThrow(code("GGUF_UNSUPPORTED"));
  });

  it("refuses more than can be read again", () => {
    const many = Array.from({ length: 65_537 }, (_, index) => ({ name: `t${index}`, dims: [1], type: f32 }));
    expect(() => encode({ tensors: many })).toThrow(code("GGUF_LIMIT_EXCEEDED"));
    const keys = new Map(Array.from({ length: 4097 }, (_, index) => [`k${index}`, scalar("bool", true)]));
    expect(() => encode({ metadata: keys })).toThrow(code("GGUF_LIMIT_EXCEEDED"));
    const items = Array.from({ length: 4 * 2 ** 20 + 1 }, () => 0);
    expect(() => encodeKey({ type: "array", itemType: "uint8", value: items })).toThrow(code("GGUF_LIMIT_EXCEEDED"));
  });
});
