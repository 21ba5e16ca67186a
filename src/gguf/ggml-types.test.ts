import { describe, expect, it } from "vitest";
import { GGML_TYPES, ggmlTypeById, ggmlTypeByName, tensorBytes } from "./ggml-types.ts";

const code = (value: string) => expect.objectContaining({ code: value });

/** Block sizes added up from the fields of the pinned release's block structures (half = 2, superblock = 256). */
const BLOCK_FIELDS: Readonly<Record<string, readonly [elements: number, ...fieldBytes: number[]]>> = {
  f32: [1, 4],
  f16: [1, 2],
  bf16: [1, 2],
  f64: [1, 8],
  i8: [1, 1],
  i16: [1, 2],
  i32: [1, 4],
  i64: [1, 8],
  q1_0: [128, 2, 128 / 8],
  q2_0: [64, 2, 64 / 4],
  q4_0: [32, 2, 32 / 2],
  q4_1: [32, 2, 2, 32 / 2],
  q5_0: [32, 2, 4, 32 / 2],
  q5_1: [32, 2, 2, 4, 32 / 2],
  q8_0: [32, 2, 32],
  q8_1: [32, 2, 2, 32],
  q2_k: [256, 256 / 16, 256 / 4, 2, 2],
  q3_k: [256, 256 / 8, 256 / 4, 12, 2],
  q4_k: [256, 2, 2, 12, 256 / 2],
  q5_k: [256, 2, 2, 12, 256 / 8, 256 / 2],
  q6_k: [256, 256 / 2, 256 / 4, 256 / 16, 2],
  q8_k: [256, 4, 256, (256 / 16) * 2],
  iq1_s: [256, 2, 256 / 8, (256 / 32) * 2],
  iq1_m: [256, 256 / 8, 256 / 16, 256 / 32],
  iq2_xxs: [256, 2, (256 / 8) * 2],
  iq2_xs: [256, 2, (256 / 8) * 2, 256 / 32],
  iq2_s: [256, 2, 256 / 4, 256 / 32, 256 / 32],
  iq3_xxs: [256, 2, (3 * 256) / 8],
  iq3_s: [256, 2, 256 / 4, 256 / 32, 256 / 8, 256 / 64],
  iq4_nl: [32, 2, 32 / 2],
  iq4_xs: [256, 2, 2, 256 / 64, 256 / 2],
  tq1_0: [256, (256 - (4 * 256) / 64) / 5, 256 / 64, 2],
  tq2_0: [256, 256 / 4, 2],
  mxfp4: [32, 1, 32 / 2],
  nvfp4: [64, 64 / 16, 64 / 2],
};

describe("the table of tensor types", () => {
  it("has every type of the pinned release, each with the size of its block structure", () => {
    const table = GGML_TYPES.map(({ name, blockElements, blockBytes }) => [name, blockElements, blockBytes]);
    const expected = Object.entries(BLOCK_FIELDS).map(([name, [elements, ...fields]]) => [
      name,
      elements,
      fields.reduce((sum, bytes) => sum + bytes, 0),
    ]);
    expect(new Set(table.map(String))).toEqual(new Set(expected.map(String)));
    expect(table).toHaveLength(expected.length);
  });

  it("covers every number below the release's count except the removed ones", () => {
    const known = GGML_TYPES.map((type) => type.id);
    const missing = Array.from({ length: 43 }, (_, id) => id).filter((id) => !known.includes(id));
    expect(missing).toEqual([4, 5, 31, 32, 33, 36, 37, 38]);
    expect(Math.max(...known)).toBe(42);
    expect(new Set(known).size).toBe(known.length);
  });

  it("finds a type by number and by name in any case", () => {
    for (const type of GGML_TYPES) {
      expect(ggmlTypeById(type.id)).toBe(type);
      expect(ggmlTypeByName(type.name.toUpperCase())).toBe(type);
    }
  });

  it.each([4, 31, 38, 43, 255, 0xffff_ffff])("refuses type %i", (id) => {
    expect(() => ggmlTypeById(id)).toThrow(code("GGUF_UNSUPPORTED"));
  });

  it("refuses a name that is none", () => {
    expect(() => ggmlTypeByName("q4_2")).toThrow(code("GGUF_UNSUPPORTED"));
  });
});

describe("tensorBytes", () => {
  it("multiplies blocks per row by rows", () => {
    expect(tensorBytes(ggmlTypeByName("q4_0"), [64, 3, 2])).toBe(2 * 18 * 6);
    expect(tensorBytes(ggmlTypeByName("f32"), [])).toBe(4);
  });

  it("counts beyond 2^32 without loss", () => {
    expect(tensorBytes(ggmlTypeByName("f16"), [65_536, 131_072])).toBe(2 ** 34);
  });

  it.each([
    ["a row that is no multiple of the block", "q4_0", [33]],
    ["a dimension of zero", "f32", [4, 0]],
    ["a negative dimension", "f32", [-4]],
    ["a fraction", "f32", [1.5]],
    ["a product beyond 2^53", "f32", [2 ** 30, 2 ** 30]],
    ["a product that would wrap around in 64 bits", "i8", [2 ** 32, 2 ** 32, 2 ** 32, 2 ** 32]],
    ["a dimension beyond 2^53", "i8", [2 ** 60]],
  ])("refuses %s", (_, name, dims) => {
    expect(() => tensorBytes(ggmlTypeByName(name), dims)).toThrow(code("GGUF_MALFORMED"));
  });
});
