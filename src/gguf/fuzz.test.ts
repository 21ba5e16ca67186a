import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ErrorCode, NoodleError } from "../common/index.ts";
import { encodeGgufHeader } from "./encode.ts";
import { GGML_TYPES } from "./ggml-types.ts";
import { parseGgufHeader } from "./parse.ts";
import { buildSmallGguf } from "./testing.ts";
import type { GgufHeader, GgufScalar, GgufScalarType, GgufValue } from "./types.ts";

const MIB = 1024 * 1024;

/** The header, or the code with which it was refused. Lets anything thrown but a NoodleError through. */
function parseOrRefuse(bytes: Uint8Array, fileBytes = bytes.length): GgufHeader | ErrorCode {
  try {
    return parseGgufHeader(bytes, fileBytes);
  } catch (error) {
    if (error instanceof NoodleError) return error.code;
    throw error;
  }
}

const GGUF_CODES: readonly unknown[] = [
  "GGUF_BAD_MAGIC",
  "GGUF_WRONG_ENDIAN",
  "GGUF_UNSUPPORTED",
  "GGUF_TRUNCATED",
  "GGUF_MALFORMED",
  "GGUF_LIMIT_EXCEEDED",
];

const scalarArbitraries: Readonly<Record<GgufScalarType, fc.Arbitrary<GgufScalar>>> = {
  uint8: fc.integer({ min: 0, max: 255 }),
  int8: fc.integer({ min: -128, max: 127 }),
  uint16: fc.integer({ min: 0, max: 65_535 }),
  int16: fc.integer({ min: -32_768, max: 32_767 }),
  uint32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  int32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  uint64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  float32: fc.float(),
  float64: fc.double(),
  bool: fc.boolean(),
  string: fc.string({ unit: "binary" }),
};
const scalarTypes = Object.keys(scalarArbitraries) as GgufScalarType[];
const valueArbitrary: fc.Arbitrary<GgufValue> = fc.constantFrom(...scalarTypes).chain((type) =>
  fc.oneof(
    scalarArbitraries[type].map((value): GgufValue => ({ type, value })),
    fc
      .array(scalarArbitraries[type], { maxLength: 9 })
      .map((value): GgufValue => ({ type: "array", itemType: type, value })),
  ),
);
const nameArbitrary = fc.string({ minLength: 1, maxLength: 15 }).filter((name) => !name.includes("\0"));
const alignmentArbitrary = fc.option(fc.constantFrom(8, 16, 32, 64, 4096), { nil: undefined });
const metadataArbitrary = fc
  .tuple(
    fc.uniqueArray(fc.tuple(nameArbitrary, valueArbitrary), { selector: ([name]) => name, maxLength: 8 }),
    alignmentArbitrary,
  )
  .map(([entries, alignment]) => {
    const metadata = new Map<string, GgufValue>(entries);
    if (alignment !== undefined) metadata.set("general.alignment", { type: "uint32", value: alignment });
    return { metadata, alignment: alignment ?? 32 };
  });
const tensorArbitrary = fc
  .tuple(nameArbitrary, fc.constantFrom(...GGML_TYPES), fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 4 }))
  .map(([name, type, dims]) => ({ name, type, dims: [type.blockElements * (dims[0] ?? 1), ...dims.slice(1)] }));
const headerArbitrary = fc.record({
  version: fc.constantFrom(1 as const, 2 as const, 3 as const),
  byteOrder: fc.constantFrom("little" as const, "big" as const),
  head: metadataArbitrary,
  tensors: fc.uniqueArray(tensorArbitrary, { selector: (tensor) => tensor.name, maxLength: 6 }),
});

describe("reading what was written", () => {
  it("gives the same header, for any metadata, tensors, version and byte order", () => {
    fc.assert(
      fc.property(headerArbitrary, ({ version, byteOrder, head, tensors }) => {
        const { header, dataOffsets, dataBytes } = encodeGgufHeader({ version, byteOrder, ...head, tensors });
        const parsed = parseGgufHeader(header, header.length + dataBytes);
        expect(parsed).toMatchObject({ version, byteOrder, alignment: head.alignment });
        expect([...parsed.metadata]).toEqual([...head.metadata]);
        expect(parsed.tensors.map(({ name, dims, type }) => ({ name, dims, type }))).toEqual(tensors);
        expect(parsed.tensors.map((tensor) => tensor.fileOffset - header.length)).toEqual(dataOffsets);
        // And once more: what was read is written with the same bytes.
        expect(encodeGgufHeader(parsed).header).toEqual(header);
      }),
      { seed: 2, numRuns: 400 },
    );
  });
});

describe("hostile bytes", () => {
  it("are refused with typed errors when they are random", () => {
    const codes = new Set<string>();
    const magic = fc.constantFrom("", "GGUF", "GGUF\x01\0\0\0", "GGUF\x02\0\0\0", "GGUF\x03\0\0\0", "GGUF\0\0\0\x03");
    fc.assert(
      fc.property(magic, fc.uint8Array({ maxLength: 300 }), fc.nat(2 ** 31), (start, rest, more) => {
        const bytes = Buffer.concat([Buffer.from(start, "latin1"), rest]);
        for (const outcome of [parseOrRefuse(bytes), parseOrRefuse(bytes, bytes.length + more)]) {
          if (typeof outcome === "string") codes.add(outcome);
        }
      }),
      { seed: 3, numRuns: 3000 },
    );
    expect(codes.size).toBeGreaterThan(3);
    expect(GGUF_CODES).toEqual(expect.arrayContaining([...codes]));
  });

  it("are refused or read exactly, without much memory, when a sound header was damaged", () => {
    const samples = ([1, 2, 3] as const).map((version) => buildSmallGguf(version));
    const heapBefore = process.memoryUsage().heapUsed;
    const codes = new Set<string>();
    let readable = 0;
    const change = fc.tuple(
      fc.nat(400),
      fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 1, 9, 127, 128, 255)),
    );
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.array(change, { minLength: 1, maxLength: 4 }), (sample, changes) => {
        const bytes = sample.slice();
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        const header = parseOrRefuse(bytes);
        if (typeof header === "string") {
          codes.add(header);
          return;
        }
        readable += 1;
        // What is accepted is understood: its header comes out again byte for byte.
        const headerBytes = header.shards[0]?.headerBytes ?? 0;
        const again = encodeGgufHeader(header).header.subarray(0, headerBytes);
        expect(Buffer.from(again)).toEqual(Buffer.from(bytes.subarray(0, headerBytes)));
      }),
      { seed: 4, numRuns: 4000 },
    );
    expect(readable).toBeGreaterThan(100);
    expect(GGUF_CODES).toEqual(expect.arrayContaining([...codes]));
    expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(200 * MIB);
  });

  it("cannot make a small file cost a large allocation", () => {
    // Every count, length and dimension of a sound file blown up, to each of many sizes.
    const sample = buildSmallGguf();
    const headerBytes = parseGgufHeader(sample, sample.length).shards[0]?.headerBytes ?? 0;
    const before = process.memoryUsage();
    for (let at = 8; at + 8 <= headerBytes; at++) {
      for (const power of [16n, 20n, 21n, 22n, 25n, 28n, 31n, 32n, 40n, 52n, 53n, 62n, 63n]) {
        const bytes = sample.slice();
        new DataView(bytes.buffer).setBigUint64(at, 2n ** power, true);
        parseOrRefuse(bytes);
        parseOrRefuse(bytes, 2 ** 45);
      }
    }
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(16 * MIB);
    expect(after.heapUsed - before.heapUsed).toBeLessThan(200 * MIB);
  });
});
