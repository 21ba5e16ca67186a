import { describe, expect, it } from "vitest";
import { ByteReader, PrefixTooShort } from "./byte-reader.ts";
import { parseGgufHeader } from "./parse.ts";
import { buildSmallGguf, countingBytes, GgufBytes, smallMetadata } from "./testing.ts";

const code = (value: string) => expect.objectContaining({ code: value });
const parse = (file: GgufBytes | Uint8Array) => {
  const bytes = file instanceof Uint8Array ? file : file.build();
  return parseGgufHeader(bytes, bytes.length);
};
/** A file of one key, whose value the caller writes. */
const oneKey = (valueType: number) => new GgufBytes().counts(0, 1).key("k", valueType);
/** A file of f32[8] tensors at the given offsets, with `dataBytes` behind the header. */
const tensorsAt = (offsets: readonly (number | bigint)[], dataBytes: number) => {
  const file = new GgufBytes().counts(offsets.length, 0);
  for (const [index, offset] of offsets.entries()) file.tensor(`t${index}`, [8], 0, offset);
  return file.pad().raw(new Uint8Array(dataBytes));
};

describe("a sound header", () => {
  for (const version of [1, 2, 3] as const) {
    for (const byteOrder of ["little", "big"] as const) {
      it(`of version ${version}, ${byteOrder}-endian, is read`, () => {
        const header = parse(buildSmallGguf(version, byteOrder));
        expect(header).toMatchObject({ version, byteOrder, alignment: 32 });
        expect([...header.metadata]).toEqual([...smallMetadata()]);
        const [shard] = header.shards;
        const dataOffset = shard?.dataOffset ?? 0;
        expect(header.tensors).toMatchObject([
          { name: "first", dims: [4], bytes: 16, shard: 0, fileOffset: dataOffset, type: { name: "f32" } },
          { name: "second", dims: [32, 2], bytes: 68, shard: 0, fileOffset: dataOffset + 32, type: { name: "q8_0" } },
        ]);
        expect(dataOffset % 32).toBe(0);
        expect(dataOffset - (shard?.headerBytes ?? 0)).toBeLessThan(32);
      });
    }
  }

  it("may hold every value type, alone and in arrays", () => {
    const one = Uint8Array.of(1);
    const file = new GgufBytes().counts(0, 14);
    file.key("u8", 0).raw(Uint8Array.of(200)).key("i8", 1).raw(Uint8Array.of(200));
    file.key("u16", 2).raw(Uint8Array.of(0, 200)).key("i16", 3).raw(Uint8Array.of(0, 200));
    file
      .key("u32", 4)
      .u32(2 ** 32 - 1)
      .key("i32", 5)
      .u32(2 ** 32 - 1);
    file.key("f32", 6).f32(0.1).key("bool", 7).raw(one).key("str", 8).str("\ufeffö");
    file
      .key("u64", 10)
      .u64(2n ** 64n - 1n)
      .key("i64", 11)
      .u64(2n ** 64n - 1n);
    file.key("f64", 12).raw(new Uint8Array(Float64Array.of(0.1).buffer));
    file.key("bools", 9).u32(7).u64(2).raw(Uint8Array.of(0, 1)).key("none", 9).u32(8).u64(0);
    expect([...parse(file).metadata].map(([key, { value }]) => [key, value])).toEqual([
      ["u8", 200],
      ["i8", -56],
      ["u16", 51_200],
      ["i16", -14_336],
      ["u32", 2 ** 32 - 1],
      ["i32", -1],
      ["f32", Math.fround(0.1)],
      ["bool", true],
      ["str", "\ufeffö"],
      ["u64", 2n ** 64n - 1n],
      ["i64", -1n],
      ["f64", 0.1],
      ["bools", [false, true]],
      ["none", []],
    ]);
  });

  it("may have another alignment", () => {
    const file = new GgufBytes().counts(2, 1).key("general.alignment", 4).u32(64);
    file.tensor("a", [1], 0, 0).tensor("b", [1], 0, 64).pad(64).raw(countingBytes(68));
    const { alignment, tensors, shards } = parse(file);
    expect(alignment).toBe(64);
    expect((shards[0]?.dataOffset ?? 1) % 64).toBe(0);
    expect((tensors[1]?.fileOffset ?? 0) - (tensors[0]?.fileOffset ?? 0)).toBe(64);
  });

  it("may describe tensors beyond 2^32 bytes", () => {
    const header = new GgufBytes()
      .counts(2, 0)
      .tensor("a", [5 * 2 ** 30], 24, 0)
      .tensor("b", [4], 0, 5 * 2 ** 30)
      .pad();
    const bytes = header.build();
    const { tensors } = parseGgufHeader(bytes, bytes.length + 5 * 2 ** 30 + 16);
    expect(tensors[1]?.fileOffset).toBe(bytes.length + 5 * 2 ** 30);
  });

  it("may have no tensors, with and without padding", () => {
    expect(parse(new GgufBytes().counts(0, 0)).tensors).toEqual([]);
    expect(parse(new GgufBytes().counts(0, 0).pad()).tensors).toEqual([]);
  });

  it("asks for more when the prefix ends too early, and for no more than there is", () => {
    const file = buildSmallGguf();
    const headerBytes = parse(file).shards[0]?.headerBytes ?? 0;
    for (let length = 0; length < headerBytes; length++) {
      let thrown: unknown;
      try {
        parseGgufHeader(file.subarray(0, length), file.length);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(PrefixTooShort);
      const { neededBytes } = thrown as PrefixTooShort;
      expect(neededBytes).toBeGreaterThan(length);
      expect(neededBytes).toBeLessThanOrEqual(headerBytes);
    }
    expect(parseGgufHeader(file.subarray(0, headerBytes), file.length).tensors).toHaveLength(2);
  });
});

describe("a file that is none", () => {
  it.each([
    ["zip", "PK\x03\x04\x14\x00\x00\x00"],
    ["pickle", "\x80\x02}q\x00(X\x05"],
    ["safetensors", '\x40\x01\0\0\0\0\0\0{"__metadata__"'],
    ["HTML", "<!DOCTYPE html>"],
    ["Git LFS", "version https://git-lfs.github.com/spec/v1"],
    ["ggjt", "tjgg\x01\0\0\0"],
    ["HDF5", "\x89HDF\r\n\x1a\n"],
    ["gzip", "\x1f\x8b\x08\0\0\0\0\0"],
    ["JSON", '{"a": 1}'],
  ])("is named: %s", (name, start) => {
    const bytes = new Uint8Array(Buffer.from(start, "latin1"));
    expect(() => parse(bytes)).toThrow(
      expect.objectContaining({
        code: "GGUF_BAD_MAGIC",
        details: expect.objectContaining({ format: expect.stringContaining(name) }),
      }),
    );
  });

  it("is refused when nobody knows it", () => {
    expect(() => parse(countingBytes(64))).toThrow(code("GGUF_BAD_MAGIC"));
    expect(() => parse(countingBytes(2))).toThrow(code("GGUF_BAD_MAGIC"));
  });

  it("is of the other byte order when its magic is written backwards", () => {
    expect(() => parse(new Uint8Array(Buffer.from("FUGG\0\0\0\x03")))).toThrow(code("GGUF_WRONG_ENDIAN"));
  });

  it.each([0, 4, 0x0101_0101])("has version %i", (version) => {
    expect(() => parse(new GgufBytes(version).counts(0, 0))).toThrow(code("GGUF_UNSUPPORTED"));
  });
});

describe("a truncated file", () => {
  for (const version of [1, 2, 3] as const) {
    it(`of version ${version} is recognised at every length`, () => {
      const file = buildSmallGguf(version);
      const last = parse(file).tensors.at(-1);
      const endBytes = (last?.fileOffset ?? 0) + (last?.bytes ?? 0);
      for (let length = 0; length < endBytes; length++) {
        expect(() => parse(file.slice(0, length))).toThrow(code("GGUF_TRUNCATED"));
      }
      expect(parse(file.slice(0, endBytes)).tensors).toHaveLength(2);
    });
  }
});

describe("a hostile header", () => {
  it.each([
    ["tensors", 2n ** 62n, 0n],
    ["metadata keys", 0n, 2n ** 62n],
    ["tensors, as a negative number", -1n, 0n],
    ["tensors just beyond the limit", 65_537n, 0n],
    ["metadata keys just beyond the limit", 0n, 4097n],
  ])("may not claim too many %s", (_, tensors, keys) => {
    expect(() => parse(new GgufBytes().counts(tensors, keys).raw(new Uint8Array(64)))).toThrow(
      code("GGUF_LIMIT_EXCEEDED"),
    );
  });

  it("may not claim more tensors or keys than the file has room for", () => {
    expect(() => parse(new GgufBytes().counts(60_000, 0).raw(new Uint8Array(64)))).toThrow(code("GGUF_TRUNCATED"));
    expect(() => parse(new GgufBytes().counts(0, 4000).raw(new Uint8Array(64)))).toThrow(code("GGUF_TRUNCATED"));
  });

  it.each([
    [
      "a key longer than the format allows",
      new GgufBytes().counts(0, 1).u64(65_536).raw(new Uint8Array(9)),
      "GGUF_LIMIT_EXCEEDED",
    ],
    ["a key longer than the file", new GgufBytes().counts(0, 1).u64(60_000), "GGUF_TRUNCATED"],
    ["a string of 2^63 bytes", oneKey(8).u64(2n ** 63n), "GGUF_LIMIT_EXCEEDED"],
    ["a string longer than the file", oneKey(8).u64(2 ** 20), "GGUF_TRUNCATED"],
    [
      "an array of 2^62 items",
      oneKey(9)
        .u32(4)
        .u64(2n ** 62n),
      "GGUF_LIMIT_EXCEEDED",
    ],
    [
      "an array longer than the file",
      oneKey(9)
        .u32(0)
        .u64(2 ** 22),
      "GGUF_TRUNCATED",
    ],
    [
      "an array of strings longer than the file",
      oneKey(9)
        .u32(8)
        .u64(2 ** 22),
      "GGUF_TRUNCATED",
    ],
    ["an array of arrays", oneKey(9).u32(9).u64(1).u32(0).u64(0), "GGUF_UNSUPPORTED"],
    ["an unknown value type", oneKey(13), "GGUF_MALFORMED"],
    [
      "an unknown item type",
      oneKey(9)
        .u32(2 ** 31)
        .u64(0),
      "GGUF_MALFORMED",
    ],
    ["a boolean of 2", oneKey(7).raw(Uint8Array.of(2)), "GGUF_MALFORMED"],
    ["an empty key", new GgufBytes().counts(0, 1).key("", 0).raw(Uint8Array.of(0)), "GGUF_MALFORMED"],
    ["a key with a zero byte", new GgufBytes().counts(0, 1).key("a\0b", 0).raw(Uint8Array.of(0)), "GGUF_MALFORMED"],
    ["a key twice", new GgufBytes().counts(0, 2).key("k", 4).u32(1).key("k", 4).u32(1), "GGUF_MALFORMED"],
    ["an alignment of 24", new GgufBytes().counts(0, 1).key("general.alignment", 4).u32(24), "GGUF_MALFORMED"],
    [
      "an alignment of 2 GiB",
      new GgufBytes()
        .counts(0, 1)
        .key("general.alignment", 4)
        .u32(2 ** 31),
      "GGUF_LIMIT_EXCEEDED",
    ],
    [
      "a tensor name of 64 bytes",
      new GgufBytes().counts(1, 0).tensor("n".repeat(64), [1], 0, 0),
      "GGUF_LIMIT_EXCEEDED",
    ],
    [
      "a tensor of five dimensions",
      new GgufBytes().counts(1, 0).tensor("t", [1, 1, 1, 1, 1], 0, 0),
      "GGUF_LIMIT_EXCEEDED",
    ],
    [
      "2^32 - 1 dimensions",
      new GgufBytes()
        .counts(1, 0)
        .str("t")
        .u32(2 ** 32 - 1)
        .u64(1)
        .u64(1),
      "GGUF_LIMIT_EXCEEDED",
    ],
    ["a negative dimension", new GgufBytes().counts(1, 0).tensor("t", [-1], 0, 0), "GGUF_MALFORMED"],
    ["a dimension of zero", new GgufBytes().counts(1, 0).tensor("t", [0], 0, 0), "GGUF_MALFORMED"],
    [
      "dimensions whose product wraps",
      new GgufBytes().counts(1, 0).tensor("t", [2 ** 32, 2 ** 32, 4], 24, 0),
      "GGUF_MALFORMED",
    ],
    ["rows that are no whole blocks", new GgufBytes().counts(1, 0).tensor("t", [48], 8, 0), "GGUF_MALFORMED"],
    ["an unknown tensor type", new GgufBytes().counts(1, 0).tensor("t", [32], 43, 0), "GGUF_UNSUPPORTED"],
    ["a removed tensor type", new GgufBytes().counts(1, 0).tensor("t", [32], 31, 0), "GGUF_UNSUPPORTED"],
    [
      "a tensor without name",
      new GgufBytes().counts(1, 0).tensor("", [8], 0, 0).pad().raw(new Uint8Array(32)),
      "GGUF_MALFORMED",
    ],
  ])("may not hold %s", (_, file, expected) => {
    expect(() => parse(file)).toThrow(code(expected));
  });

  it("may not name a tensor twice", () => {
    const file = new GgufBytes().counts(2, 0).tensor("t", [8], 0, 0).tensor("t", [8], 0, 32).pad();
    expect(() => parse(file.raw(new Uint8Array(64)))).toThrow(code("GGUF_MALFORMED"));
  });

  it.each([
    ["overlapping", [0, 0], 64],
    ["overlapping in part", [0, 16], 64],
    ["misaligned", [0, 36], 96],
    ["apart", [0, 64], 96],
    ["in another order", [32, 0], 64],
    ["beyond 2^63", [0, 2n ** 64n - 32n], 64],
    ["away from the start", [32], 64],
  ])("may not place tensors %s", (_, offsets, dataBytes) => {
    expect(() => parse(tensorsAt(offsets, dataBytes))).toThrow(code("GGUF_MALFORMED"));
  });

  it("may not describe tensors that the file has no room for", () => {
    expect(() => parse(tensorsAt([0, 32], 63))).toThrow(code("GGUF_TRUNCATED"));
    expect(() =>
      parse(
        new GgufBytes()
          .counts(1, 0)
          .tensor("t", [2 ** 40], 0, 0)
          .pad(),
      ),
    ).toThrow(code("GGUF_TRUNCATED"));
  });

  it("may not sum up to more than 2^53 bytes", () => {
    const half = 2 ** 52;
    const file = new GgufBytes().counts(3, 0);
    for (const index of [0, 1, 2]) file.tensor(`t${index}`, [half], 24, half * index);
    expect(() => parse(file.pad())).toThrow(code("GGUF_MALFORMED"));
  });

  it("may not be followed by bytes that belong to no tensor", () => {
    expect(() => parse(tensorsAt([0], 33))).toThrow(code("GGUF_MALFORMED"));
  });

  it("may not have arrays of more items in all than the limit", () => {
    // Three arrays of 3 Mi booleans: each within its limit, together beyond 8 Mi. The bytes are really there.
    const items = new Uint8Array(3 * 2 ** 20);
    const array = (key: string) => [new GgufBytes().key(key, 9).u32(7).u64(items.length).build().subarray(8), items];
    const file = Buffer.concat([new GgufBytes().counts(0, 3).build(), ...["a", "b", "c"].flatMap(array)]);
    expect(() => parse(file)).toThrow(code("GGUF_LIMIT_EXCEEDED"));
  });

  it("may not have more string bytes in all than the limit", () => {
    const half = Buffer.alloc(33 * 2 ** 20, "a");
    const string = (key: string) => [new GgufBytes().key(key, 8).u64(half.length).build().subarray(8), half];
    const file = Buffer.concat([new GgufBytes().counts(0, 2).build(), ...string("a"), ...string("b")]);
    expect(() => parse(file)).toThrow(code("GGUF_LIMIT_EXCEEDED"));
  });

  it("may not be longer than its limit, however long the file is", () => {
    const options = {
      bytes: new Uint8Array(8),
      fileBytes: 2 ** 40,
      path: "p",
      version: 3,
      byteOrder: "little",
    } as const;
    const reader = new ByteReader(options);
    expect(() => reader.readUint32()).toThrow(PrefixTooShort);
    reader.position = 128 * 2 ** 20 - 3;
    expect(() => reader.readUint32()).toThrow(code("GGUF_LIMIT_EXCEEDED"));
  });
});

it("bytes longer than the file they are said to be of are the caller's mistake", () => {
  expect(() => parseGgufHeader(new Uint8Array(9), 8)).toThrow(code("ILLEGAL_STATE"));
});
