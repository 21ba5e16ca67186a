import { createHash } from "node:crypto";
import { mkdir, mkdtemp, open, rename, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { openGguf } from "./open.ts";
import { buildSmallGguf, countingBytes, GgufBytes, scalar, smallMetadata, smallTensors } from "./testing.ts";
import type { GgufValue } from "./types.ts";
import { writeGguf } from "./write.ts";

const code = (value: string) => expect.objectContaining({ code: value });
let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "gguf-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** Writes the bytes and returns the path. */
async function put(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

describe("an open model", () => {
  for (const version of [1, 2, 3] as const) {
    it(`of version ${version} gives its tensors' bytes`, async () => {
      const bytes = buildSmallGguf(version);
      const file = await openGguf(await put("m.gguf", bytes));
      expect(file.fileBytes).toBe(bytes.length);
      expect(file.tensor("none")).toBeUndefined();
      for (const { name, data } of smallTensors()) {
        expect(await file.readTensor(must(file.tensor(name), name))).toEqual(data);
      }
      await file.close();
    });
  }

  it("streams a range in pieces of the asked size", async () => {
    const bytes = buildSmallGguf();
    const file = await openGguf(await put("m.gguf", bytes));
    const pieces: Uint8Array[] = [];
    for await (const piece of file.streamRange(0, 3, 100, 33)) pieces.push(piece);
    expect(pieces.map((piece) => piece.length)).toEqual([33, 33, 33, 1]);
    expect(Buffer.concat(pieces)).toEqual(Buffer.from(bytes.subarray(3, 103)));
    await expect(file.streamRange(0, 0, 9, 0).next()).rejects.toThrow(code("USAGE"));
    await file.close();
  });

  it("names itself by the hash of its header", async () => {
    const bytes = buildSmallGguf();
    const file = await openGguf(await put("m.gguf", bytes));
    const headerBytes = file.header.shards[0]?.headerBytes;
    expect(await file.headerSha256()).toBe(createHash("sha256").update(bytes.subarray(0, headerBytes)).digest("hex"));
    await file.close();
  });

  it("refuses ranges that it does not have, without allocating them", async () => {
    const file = await openGguf(await put("m.gguf", buildSmallGguf()));
    for (const [offset, length] of [
      [0, 2 ** 50],
      [2 ** 50, 1],
      [-1, 4],
      [0, -1],
      [0.5, 1],
      [0, Number.NaN],
    ] as const) {
      await expect(file.readRange(0, offset, length)).rejects.toThrow(code("GGUF_TRUNCATED"));
      await expect(file.streamRange(0, offset, length).next()).rejects.toThrow(code("GGUF_TRUNCATED"));
    }
    await expect(file.readRange(1, 0, 1)).rejects.toThrow(code("ILLEGAL_STATE"));
    await file.close();
  });

  it("notices that its file became shorter", async () => {
    const path = await put("m.gguf", buildSmallGguf());
    const file = await openGguf(path);
    await truncate(path, 100);
    await expect(file.readRange(0, 90, 20)).rejects.toThrow(code("GGUF_TRUNCATED"));
    await file.close();
  });

  it("may be closed twice and is not read after that", async () => {
    const file = await openGguf(await put("m.gguf", buildSmallGguf()));
    await file.close();
    await file[Symbol.asyncDispose]();
    await expect(file.readRange(0, 0, 1)).rejects.toThrow(code("ILLEGAL_STATE"));
    await expect(file.headerSha256()).rejects.toThrow(code("ILLEGAL_STATE"));
  });

  it("may have a header of many megabytes", async () => {
    const tokens = Array.from({ length: 300_000 }, (_, index) => `a rather long token ${index}`);
    const metadata = new Map<string, GgufValue>([["tokens", { type: "array", itemType: "string", value: tokens }]]);
    const path = join(folder, "m.gguf");
    const { bytes } = await writeGguf(path, { metadata, tensors: smallTensors() });
    expect(bytes).toBeGreaterThan(8 * 2 ** 20);
    const file = await openGguf(path);
    expect(file.header.metadata.get("tokens")?.value).toEqual(tokens);
    await file.close();
  });

  it("may have tensors behind 2^32 bytes", async () => {
    const gapBytes = 5 * 2 ** 30;
    const header = new GgufBytes()
      .counts(2, 0)
      .tensor("a", [gapBytes], 24, 0)
      .tensor("b", [4], 0, gapBytes)
      .pad()
      .build();
    const path = await put("m.gguf", header);
    // A hole: the file takes next to no room on the disk.
    const handle = await open(path, "r+");
    await handle.write(countingBytes(16), 0, 16, header.length + gapBytes);
    await handle.close();
    const file = await openGguf(path);
    const tensor = must(file.tensor("b"), "b");
    expect(tensor.fileOffset).toBe(header.length + gapBytes);
    expect(await file.readTensor(tensor)).toEqual(countingBytes(16));
    await expect(file.readTensor(must(file.tensor("a"), "a"))).rejects.toThrow(code("GGUF_LIMIT_EXCEEDED"));
    await file.close();
  });
});

describe("opening refuses", () => {
  it("a file that is not there, and a folder", async () => {
    await expect(openGguf(join(folder, "none.gguf"))).rejects.toThrow(code("FILE_NOT_FOUND"));
    await expect(openGguf(folder)).rejects.toThrow(code("FILE_UNREADABLE"));
    await expect(openGguf(join(await put("f", buildSmallGguf()), "x"))).rejects.toThrow(code("FILE_UNREADABLE"));
    await expect(openGguf("a\0b")).rejects.toThrow(code("FILE_UNREADABLE"));
  });

  it("an empty file, a truncated one, another format", async () => {
    await expect(openGguf(await put("a", new Uint8Array(0)))).rejects.toThrow(code("GGUF_TRUNCATED"));
    await expect(openGguf(await put("b", buildSmallGguf().slice(0, 200)))).rejects.toThrow(code("GGUF_TRUNCATED"));
    await expect(openGguf(await put("c", Buffer.from("PK\x03\x04....")))).rejects.toThrow(code("GGUF_BAD_MAGIC"));
  });

  it.each([1, 2, 3] as const)("a big-endian model of version %i", async (version) => {
    const path = await put("m.gguf", buildSmallGguf(version, "big"));
    await expect(openGguf(path)).rejects.toThrow(code("GGUF_WRONG_ENDIAN"));
  });

  it("a header that claims more than a long file has", async () => {
    const path = await put(
      "m.gguf",
      new GgufBytes()
        .counts(0, 1)
        .key("k", 9)
        .u32(8)
        .u64(2 ** 22)
        .build(),
    );
    await truncate(path, 40 * 2 ** 20);
    // The zeros behind are 2^22 empty strings of 8 bytes each; what follows them belongs to nothing.
    await expect(openGguf(path)).rejects.toThrow(code("GGUF_MALFORMED"));
    await truncate(path, 30 * 2 ** 20);
    await expect(openGguf(path)).rejects.toThrow(code("GGUF_TRUNCATED"));
  });
});

describe("a sharded model", () => {
  const names = ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"];
  /** Three shards: the first with metadata only, as llama.cpp's splitter can leave it, then one tensor each. */
  async function putShards(
    change: (shard: number, metadata: Map<string, GgufValue>) => void = () => {},
  ): Promise<string[]> {
    const tensors = smallTensors();
    const paths = names.map((name) => join(folder, name));
    for (const [index, path] of paths.entries()) {
      const metadata = new Map<string, GgufValue>(index === 0 ? smallMetadata() : []);
      metadata.set("split.no", scalar("uint16", index)).set("split.count", scalar("uint16", 3));
      metadata.set("split.tensors.count", scalar("int32", 2));
      change(index, metadata);
      await writeGguf(path, { metadata, tensors: index === 0 ? [] : tensors.slice(index - 1, index) });
    }
    return paths;
  }

  it("is opened by any of its shards", async () => {
    for (const path of await putShards()) {
      const file = await openGguf(path);
      expect(file.path).toBe(path);
      expect(file.header.shards.map((shard) => shard.path)).toEqual(names.map((name) => join(folder, name)));
      expect(file.header.tensors.map(({ name, shard }) => [name, shard])).toEqual([
        ["first", 1],
        ["second", 2],
      ]);
      expect(file.header.metadata.get("general.architecture")?.value).toBe("gpt2");
      expect(file.fileBytes).toBe(file.header.shards.reduce((sum, shard) => sum + shard.bytes, 0));
      for (const { name, data } of smallTensors()) {
        expect(await file.readTensor(must(file.tensor(name), name))).toEqual(data);
      }
      await file.close();
    }
  });

  it("is named by the headers of all its shards", async () => {
    const [first = "", second = ""] = await putShards();
    const before = await hashHeaders(first);
    expect(await hashHeaders(second)).toBe(before);
    await putShards((shard, metadata) => shard === 2 && metadata.set("more", scalar("bool", true)));
    expect(await hashHeaders(first)).not.toBe(before);
  });

  it("is refused when a shard is missing, and the message's details name it", async () => {
    const [first = "", second = ""] = await putShards();
    await rm(second);
    await expect(openGguf(first)).rejects.toMatchObject({ code: "FILE_NOT_FOUND", details: { path: second } });
  });

  it("is refused when a shard was given another name", async () => {
    const [first = ""] = await putShards();
    const renamed = join(folder, "model.gguf");
    await rename(first, renamed);
    await expect(openGguf(renamed)).rejects.toThrow(code("GGUF_MALFORMED"));
  });

  it("is refused when a shard is truncated", async () => {
    const [first = "", , third = ""] = await putShards();
    await truncate(third, 200);
    await expect(openGguf(first)).rejects.toMatchObject({ code: "GGUF_TRUNCATED", details: { path: third } });
  });

  it.each<[string, (shard: number, metadata: Map<string, GgufValue>) => void, string]>([
    [
      "two shards have one number",
      (shard, keys) => shard === 2 && keys.set("split.no", scalar("uint16", 1)),
      "GGUF_MALFORMED",
    ],
    [
      "a shard is of another set",
      (shard, keys) => shard === 2 && keys.set("split.count", scalar("uint16", 4)),
      "GGUF_MALFORMED",
    ],
    ["a shard says that it is none", (shard, keys) => shard === 1 && keys.delete("split.count"), "GGUF_MALFORMED"],
    ["tensors are missing", (_, keys) => keys.set("split.tensors.count", scalar("int32", 3)), "GGUF_MALFORMED"],
    ["the number is missing", (_, keys) => keys.delete("split.no"), "GGUF_MALFORMED"],
    ["the number is no number", (_, keys) => keys.set("split.no", scalar("string", "1")), "GGUF_MALFORMED"],
    ["the number is beyond the count", (_, keys) => keys.set("split.no", scalar("uint16", 3)), "GGUF_MALFORMED"],
    ["the count is negative", (_, keys) => keys.set("split.count", scalar("int32", -3)), "GGUF_MALFORMED"],
    [
      "the count is beyond all models",
      (_, keys) => keys.set("split.count", scalar("uint16", 65_535)),
      "GGUF_LIMIT_EXCEEDED",
    ],
  ])("is refused when %s", async (_, change, expected) => {
    const [first = ""] = await putShards(change);
    await expect(openGguf(first)).rejects.toThrow(code(expected));
  });

  it("is refused when two shards hold one tensor, or differ in version", async () => {
    const [first = "", second = ""] = await putShards();
    const metadata = new Map<string, GgufValue>([
      ["split.no", scalar("uint16", 1)],
      ["split.count", scalar("uint16", 3)],
    ]);
    await writeGguf(second, { metadata, tensors: smallTensors().slice(1) });
    await expect(openGguf(first)).rejects.toThrow(code("GGUF_MALFORMED"));
    await writeGguf(second, { metadata, version: 2, tensors: smallTensors().slice(0, 1) });
    await expect(openGguf(first)).rejects.toThrow(code("GGUF_MALFORMED"));
  });

  it("of one shard needs no special name", async () => {
    const path = join(folder, "whole.gguf");
    const metadata = new Map<string, GgufValue>([
      ["split.no", scalar("uint16", 0)],
      ["split.count", scalar("uint16", 1)],
    ]);
    await writeGguf(path, { metadata, tensors: smallTensors() });
    const file = await openGguf(path);
    expect(file.header.shards).toHaveLength(1);
    await file.close();
  });

  it("leaves no file open when it is refused", async () => {
    const [first = "", second = ""] = await putShards();
    await rm(second);
    await mkdir(second);
    const openFiles = await countOpenFiles();
    for (let round = 0; round < 5; round++) await expect(openGguf(first)).rejects.toThrow(code("FILE_UNREADABLE"));
    expect(await countOpenFiles()).toBe(openFiles);
  });
});

async function hashHeaders(path: string): Promise<string> {
  const file = await openGguf(path);
  const sha256 = await file.headerSha256();
  await file.close();
  return sha256;
}

/** The number that the next opened file gets grows with every file left open. */
async function countOpenFiles(): Promise<number> {
  const path = join(folder, "probe");
  const handle = await open(path, "w");
  const { fd } = handle;
  await handle.close();
  return fd;
}
