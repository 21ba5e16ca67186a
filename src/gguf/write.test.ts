import { createHash } from "node:crypto";
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { GgufFile } from "./file.ts";
import { openGguf } from "./open.ts";
import { buildSmallGguf, countingBytes, scalar, smallMetadata, smallTensors } from "./testing.ts";
import type { GgufValue } from "./types.ts";
import { writeGguf, type WriteGgufOptions } from "./write.ts";

const BUNDLED_MODEL = fileURLToPath(new URL("../../models/storyteller-q8_0.gguf", import.meta.url));
const code = (value: string) => expect.objectContaining({ code: value });
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
let folder = "";
let path = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "gguf-"));
  path = join(folder, "out.gguf");
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

const small = (): WriteGgufOptions => ({ metadata: smallMetadata(), tensors: smallTensors() });
async function* inPieces(data: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += pieceBytes) yield data.subarray(at, at + pieceBytes);
}

/** Everything of `file` again, its tensors streamed. */
function copyOptions(file: GgufFile): WriteGgufOptions {
  const { metadata, version, tensors } = file.header;
  return {
    metadata,
    version,
    tensors: tensors.map((tensor) => ({
      ...tensor,
      data: () => file.streamRange(tensor.shard, tensor.fileOffset, tensor.bytes, 1000),
    })),
  };
}

/** Makes every file handle's `method` fail once with a system error. */
async function breakOnce(method: "write" | "sync", errno: string): Promise<void> {
  const handle = await open(join(folder, "probe"), "w");
  const prototype = Object.getPrototypeOf(handle) as typeof handle;
  await handle.close();
  await rm(join(folder, "probe"));
  vi.spyOn(prototype, method).mockRejectedValueOnce(Object.assign(new Error(`${errno}: no`), { code: errno }));
}

describe("writing", () => {
  it.each([1, 2, 3] as const)("gives the bytes that the format says, version %i", async (version) => {
    const expected = buildSmallGguf(version);
    const written = await writeGguf(path, { ...small(), version });
    expect(await readFile(path)).toEqual(Buffer.from(expected));
    expect(written).toEqual({ bytes: expected.length, sha256: sha256(expected) });
    expect(await readdir(folder)).toEqual(["out.gguf"]);
  });

  it.each([1, 2, 3] as const)("what was read gives the same file, version %i", async (version) => {
    const source = join(folder, "in.gguf");
    await writeFile(source, buildSmallGguf(version));
    const file = await openGguf(source);
    await writeGguf(path, copyOptions(file));
    await file.close();
    expect(await readFile(path)).toEqual(await readFile(source));
  });

  it("the bundled model again gives the engine's own file byte for byte", async () => {
    const file = await openGguf(BUNDLED_MODEL);
    const written = await writeGguf(path, copyOptions(file));
    await file.close();
    expect(written.sha256).toBe(sha256(await readFile(BUNDLED_MODEL)));
    expect(sha256(await readFile(path))).toBe(written.sha256);
  });

  it("takes data whole, as pieces, and from a function that is called in the tensor's turn", async () => {
    const calls: string[] = [];
    const tensors = smallTensors().map((tensor, index) => ({
      ...tensor,
      data:
        index === 0
          ? inPieces(tensor.data, 5)
          : () => {
              calls.push(tensor.name);
              return inPieces(tensor.data, 100);
            },
    }));
    await writeGguf(path, { ...small(), tensors });
    expect(await readFile(path)).toEqual(Buffer.from(buildSmallGguf()));
    expect(calls).toEqual(["second"]);
  });

  it("adds the key for an alignment that is not the default", async () => {
    await writeGguf(path, { ...small(), alignment: 4096 });
    const file = await openGguf(path);
    expect(file.header.alignment).toBe(4096);
    expect(file.header.shards[0]?.dataOffset).toBe(4096);
    await file.close();
    await writeGguf(path, { ...small(), alignment: 32 });
    expect(await readFile(path)).toEqual(Buffer.from(buildSmallGguf()));
    const metadata = new Map<string, GgufValue>([["general.alignment", scalar("uint32", 64)]]);
    await expect(writeGguf(path, { metadata, alignment: 128, tensors: [] })).rejects.toThrow(code("GGUF_MALFORMED"));
  });

  it("tells its progress up to the size that it said at first", async () => {
    const progress: [number, number][] = [];
    const { bytes } = await writeGguf(path, { ...small(), onProgress: (...step) => progress.push(step) });
    expect(progress.at(-1)).toEqual([bytes, bytes]);
    expect(progress.every(([, total]) => total === bytes)).toBe(true);
    const written = progress.map(([done]) => done);
    expect(written).toEqual(written.toSorted((a, b) => a - b));
  });
});

describe("a failed writing leaves what was there and nothing else", () => {
  const before = Buffer.from("what was there");
  beforeEach(() => writeFile(path, before));
  /** The error of a writing that must fail, after a look at what it left. */
  const failToWrite = async (options: WriteGgufOptions): Promise<unknown> => {
    const error: unknown = await writeGguf(path, options).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(await readFile(path)).toEqual(before);
    expect(await readdir(folder)).toEqual(["out.gguf"]);
    return error;
  };

  it.each([
    ["write", "ENOSPC"],
    ["write", "EDQUOT"],
    ["sync", "ENOSPC"],
  ] as const)("when the disk is full (%s, %s)", async (method, errno) => {
    await breakOnce(method, errno);
    expect(await failToWrite(small())).toMatchObject({ code: "DISK_FULL", details: { path, errno } });
  });

  it("when the disk fails otherwise", async () => {
    await breakOnce("write", "EIO");
    expect(await failToWrite(small())).toEqual(code("FILE_UNREADABLE"));
  });

  it.each([
    ["too long", 69],
    ["too short", 67],
    ["absent", 0],
  ])("when a tensor's data are %s", async (_, length) => {
    const [first, second] = smallTensors();
    for (const data of [countingBytes(length), inPieces(countingBytes(length), 10)]) {
      const tensors = [first, { ...second, data }] as WriteGgufOptions["tensors"];
      expect(await failToWrite({ ...small(), tensors })).toEqual(code("GGUF_MALFORMED"));
    }
  });

  it("when the data source fails, whose error comes through", async () => {
    const failure = new Error("source");
    const [first, second] = smallTensors();
    const data = async function* (): AsyncGenerator<Uint8Array> {
      yield countingBytes(10);
      throw failure;
    };
    const tensors = [first, { ...second, data }] as WriteGgufOptions["tensors"];
    expect(await failToWrite({ ...small(), tensors })).toBe(failure);
  });

  it("when it is stopped in the middle, and the data source is told", async () => {
    const stop = new AbortController();
    let released = false;
    const data = async function* (): AsyncGenerator<Uint8Array> {
      try {
        yield countingBytes(10);
        stop.abort();
        yield countingBytes(58);
      } finally {
        released = true;
      }
    };
    const [first, second] = smallTensors();
    const tensors = [first, { ...second, data }] as WriteGgufOptions["tensors"];
    const options = { ...small(), tensors, signal: stop.signal };
    expect(await failToWrite(options)).toEqual(code("INTERRUPTED"));
    expect(released).toBe(true);
  });

  it("when it was stopped before it began", async () => {
    expect(await failToWrite({ ...small(), signal: AbortSignal.abort() })).toEqual(code("INTERRUPTED"));
  });

  it("when the header cannot be written", async () => {
    const metadata = new Map([["k", scalar("uint8", 256)]]);
    expect(await failToWrite({ ...small(), metadata })).toEqual(code("GGUF_MALFORMED"));
  });
});

describe("writing refuses", () => {
  it("a folder that is not there", async () => {
    await expect(writeGguf(join(folder, "none", "m.gguf"), small())).rejects.toThrow(code("FILE_NOT_FOUND"));
  });

  it("the name of a folder, and leaves nothing behind", async () => {
    await mkdir(path);
    await expect(writeGguf(path, small())).rejects.toThrow(code("FILE_UNREADABLE"));
    expect(await readdir(folder)).toEqual(["out.gguf"]);
  });
});
