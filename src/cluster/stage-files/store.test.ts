import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { openGguf } from "../../gguf/index.ts";
import { generateDummy, hashModel, neededRanges, readStageManifest } from "../../model/index.ts";
import { bindService, createServer } from "../../net/index.ts";
import { crc32c, type ModelIdentity, ModelIdentitySchema, TransferService } from "../../protocol/index.ts";
import { createRangeFetcher, type FetchedPiece, type RangeFetcher } from "./fetch.ts";
import type { FileRange } from "./ranges.ts";
import { createStageFiles, type StageFilesParts } from "./store.ts";
import type { PreparedStage, StageFileHooks, StageFileRequest } from "./types.ts";

const UNITS = { first: 1, end: 3 };
const PIECE_BYTES = 100_000;

let sources: string;
let modelPath: string;
let model: ModelIdentity;
/** Bytes of tensors that the stage copies. */
let neededBytes: number;
let directory: string;

beforeAll(async () => {
  sources = mkdtempSync(join(tmpdir(), "noodle-source-"));
  modelPath = join(sources, "model.gguf");
  await generateDummy(
    { architecture: "llama", layers: 4, embd: 128, heads: 4, kvHeads: 4, ff: 512, vocab: 600, type: "q8_0" },
    modelPath,
  );
  const file = await openGguf(modelPath);
  const hashes = await hashModel(file);
  neededBytes = neededRanges(file.header, UNITS).reduce((sum, { bytes }) => sum + bytes, 0);
  model = create(ModelIdentitySchema, {
    path: "",
    shardBytes: file.header.shards.map(({ bytes }) => BigInt(bytes)),
    headerSha256: Buffer.from(hashes.headerSha256, "hex"),
    sourceSha256: Buffer.from(hashes.sourceSha256, "hex"),
    tensors: hashes.tensors.map(({ name, sha256 }) => ({ name, sha256: Buffer.from(sha256, "hex") })),
  });
  await file.close();
});
afterAll(() => rmSync(sources, { recursive: true }));
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "noodle-stages-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** The coordinator, as an honest or a broken one. */
class FakeSource {
  /** Ranges that were asked for, call by call. */
  readonly calls: number[] = [];
  sentBytes = 0;
  /** The connection breaks after this many more pieces. */
  piecesUntilBreak = Number.POSITIVE_INFINITY;
  /** Changes what is sent, checksum included, as a coordinator with another file would. */
  change: (data: Buffer, offset: number) => void = () => undefined;
  readonly #bytes = readFileSync(modelPath);

  readonly fetch: RangeFetcher = (_source, ranges) => this.#send(ranges);

  async *#send(ranges: readonly FileRange[]): AsyncGenerator<FetchedPiece> {
    this.calls.push(ranges.length);
    for (const { shard, offset, length } of ranges) {
      for (let done = 0; done < length; done += PIECE_BYTES) {
        if (this.piecesUntilBreak-- <= 0) throw new NoodleError("PEER_DEAD", "the connection broke");
        const at = offset + done;
        const data = Buffer.from(this.#bytes.subarray(at, Math.min(at + PIECE_BYTES, offset + length)));
        this.change(data, at);
        this.sentBytes += data.length;
        yield { shard, offset: at, data, crc32c: crc32c(data) };
      }
    }
  }
}

interface Preparation {
  readonly source?: FakeSource;
  readonly parts?: StageFilesParts;
  readonly request?: Partial<StageFileRequest>;
  readonly hooks?: Partial<StageFileHooks>;
  readonly cacheLimitBytes?: number;
  readonly onCorrupt?: (error: NoodleError) => void;
}

function prepare(preparation: Preparation = {}): Promise<PreparedStage> {
  const { source = new FakeSource(), parts, request, hooks, cacheLimitBytes, onCorrupt } = preparation;
  const files = createStageFiles(
    {
      directory,
      coordinator: "127.0.0.1:1",
      ...(cacheLimitBytes === undefined ? {} : { cacheLimitBytes }),
      ...(onCorrupt === undefined ? {} : { onCorrupt }),
    },
    { fetch: source.fetch, wait: async () => undefined, ...parts },
  );
  return files.prepare(
    { model, units: UNITS, unverified: false, contextTokens: 64, parallel: 2, ...request },
    { checkSizes: () => undefined, onProgress: () => undefined, signal: new AbortController().signal, ...hooks },
  );
}

async function codeOf(action: Promise<unknown>): Promise<string> {
  return await action.then(
    () => "nothing thrown",
    (error: unknown) => NoodleError.from(error).code,
  );
}

const finished = (): string[] => readdirSync(directory).filter((name) => name.endsWith(".gguf"));
const drafts = (): string[] => readdirSync(directory).filter((name) => name.endsWith(".tmp"));

describe("createStageFiles", () => {
  it("fetches no more than its units' bytes and the header, and nothing the second time", async () => {
    const source = new FakeSource();
    const progress: number[] = [];
    const first = await prepare({ source, hooks: { onProgress: ({ bytesDone }) => progress.push(bytesDone) } });
    expect(first.receivedBytes).toBeGreaterThan(0);
    expect(first.receivedBytes).toBeLessThanOrEqual(neededBytes);
    expect(source.sentBytes).toBeLessThanOrEqual(neededBytes + 256 * 1024);
    expect(progress.length).toBeGreaterThan(0);
    const file = await openGguf(first.path);
    expect(readStageManifest(file.header)?.units).toEqual(UNITS);
    await file.close();
    const again = new FakeSource();
    expect(await prepare({ source: again })).toEqual({ ...first, receivedBytes: 0 });
    expect(again.calls).toEqual([]);
    expect(readdirSync(join(directory, "partial"))).toEqual([]);
  });

  it("cuts the same bytes from a local file as from the network", async () => {
    const fetched = await prepare();
    const bytes = readFileSync(fetched.path);
    rmSync(directory, { recursive: true });
    const source = new FakeSource();
    const local = await prepare({ source, request: { model: { ...model, path: modelPath } } });
    expect(readFileSync(local.path).equals(bytes)).toBe(true);
    expect([local.receivedBytes, source.calls]).toEqual([0, []]);
  });

  it("uses a local model in place when the stage is all of it", async () => {
    const whole = { first: 0, end: 6 };
    const stage = await prepare({ request: { units: whole, model: { ...model, path: modelPath } } });
    expect(stage.path).toBe(modelPath);
    expect(finished()).toEqual([]);
  });

  it("fetches when the local file is another one or damaged", async () => {
    const other = join(sources, "other.gguf");
    writeFileSync(other, "GGUF, but no more than that");
    const source = new FakeSource();
    await prepare({ source, request: { model: { ...model, path: other } } });
    expect(source.calls.length).toBeGreaterThan(0);
    rmSync(directory, { recursive: true });

    const damaged = join(sources, "damaged.gguf");
    copyFileSync(modelPath, damaged);
    const file = await openGguf(damaged);
    const tensor = neededRanges(file.header, UNITS)[3];
    await file.close();
    const bytes = readFileSync(damaged);
    const at = tensor?.fileOffset ?? 0;
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    writeFileSync(damaged, bytes);
    const corrupt: string[] = [];
    const second = new FakeSource();
    await prepare({
      source: second,
      request: { model: { ...model, path: damaged } },
      onCorrupt: ({ code }) => corrupt.push(code),
    });
    expect(corrupt).toEqual(["STAGE_CORRUPT"]);
    expect(second.calls.length).toBeGreaterThan(0);
  });

  it("goes on where a broken connection left it", async () => {
    const source = new FakeSource();
    source.piecesUntilBreak = 6;
    const fetch: RangeFetcher = (...args) => {
      if (source.calls.length === 2) source.piecesUntilBreak = Number.POSITIVE_INFINITY;
      return source.fetch(...args);
    };
    const stage = await prepare({ parts: { fetch } });
    expect(stage.receivedBytes).toBeLessThanOrEqual(neededBytes);
    expect(source.sentBytes).toBeLessThanOrEqual(neededBytes + 256 * 1024);
    expect(source.calls.length).toBeGreaterThan(2);
  });

  it("goes on after a restart, and fetches again what was damaged on the disk meanwhile", async () => {
    const first = new FakeSource();
    first.piecesUntilBreak = 6;
    expect(await codeOf(prepare({ source: first }))).toBe("PEER_DEAD");
    const [mirror] = readdirSync(join(directory, "partial")).filter((name) => !name.endsWith(".lock"));
    const record = readFileSync(join(directory, "partial", mirror ?? "", "progress.jsonl"), "utf8")
      .trim()
      .split("\n");
    const last = JSON.parse(record.at(-1) ?? "{}") as { offset: number; length: number };
    const shard = join(directory, "partial", mirror ?? "", "model.gguf");
    const bytes = readFileSync(shard);
    bytes[last.offset] = (bytes[last.offset] ?? 0) ^ 1;
    writeFileSync(shard, bytes);
    const second = new FakeSource();
    const stage = await prepare({ source: second });
    expect(first.sentBytes + second.sentBytes).toBeLessThanOrEqual(neededBytes + 256 * 1024 + last.length);
    expect(second.sentBytes).toBeLessThan(neededBytes);
    expect(existsSync(stage.path)).toBe(true);
  });

  it("gives up with the transfer's error when nothing comes any more", async () => {
    const source = new FakeSource();
    source.piecesUntilBreak = 0;
    expect(await codeOf(prepare({ source }))).toBe("PEER_DEAD");
    expect(source.calls).toHaveLength(4);
  });

  it("refuses weights and headers that are not the model's, and keeps nothing of them", async () => {
    for (const from of [300_000, 40]) {
      const source = new FakeSource();
      source.change = (data, offset) => {
        const at = from - offset;
        if (at >= 0 && at < data.length) data[at] = (data[at] ?? 0) ^ 1;
      };
      const code = await codeOf(prepare({ source }));
      expect(["STAGE_CORRUPT", "GGUF_MALFORMED"]).toContain(code);
      expect([finished(), drafts(), readdirSync(join(directory, "partial"))]).toEqual([[], [], []]);
    }
  });

  it("finds a flipped bit in a kept file, removes the file and makes it again", async () => {
    const { path } = await prepare();
    const sound = readFileSync(path);
    const bytes = Buffer.from(sound);
    bytes[bytes.length - 100] = (bytes[bytes.length - 100] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    const corrupt: string[] = [];
    const again = await prepare({ onCorrupt: ({ code }) => corrupt.push(code) });
    expect(corrupt).toEqual(["STAGE_CORRUPT"]);
    expect(again.receivedBytes).toBeGreaterThan(0);
    expect(readFileSync(path).equals(sound)).toBe(true);
  });

  it("keeps its files below the limit, the latest used longest", async () => {
    const request = (first: number): Partial<StageFileRequest> => ({
      model: { ...model, path: modelPath },
      units: { first, end: first + 1 },
    });
    const oldest = await prepare({ request: request(1) });
    const older = await prepare({ request: request(2) });
    const bytes = readFileSync(oldest.path).length;
    const age = (path: string, seconds: number): void => {
      const time = Date.now() / 1000 - seconds;
      utimesSync(path.replace(/gguf$/, "json"), time, time);
    };
    age(oldest.path, 7200);
    age(older.path, 3600);
    await prepare({ request: request(1) });
    // Used again just now: the other one is the oldest.
    const third = await prepare({ request: request(3), cacheLimitBytes: 2.5 * bytes });
    expect(existsSync(older.path)).toBe(false);
    expect([existsSync(oldest.path), existsSync(third.path)]).toEqual([true, true]);
  });

  it("asks for the sizes' approval before it copies weights", async () => {
    const source = new FakeSource();
    const refuse = (): never => {
      throw new NoodleError("MEMORY_INSUFFICIENT", "too big");
    };
    expect(await codeOf(prepare({ source, hooks: { checkSizes: refuse } }))).toBe("MEMORY_INSUFFICIENT");
    expect(source.sentBytes).toBeLessThanOrEqual(256 * 1024);
    const sizes: unknown[] = [];
    const { weightsBytes } = await prepare({ hooks: { checkSizes: (asked) => sizes.push(asked) } });
    // 2 blocks, keys and values of 128 values in F16, 64 tokens, 2 sequences.
    expect(sizes).toEqual([{ weightsBytes, kvBytes: 2 * 2 * 128 * 2 * 64 * 2 }]);
  });

  it("leaves no half file and nothing else changed when the disk is full", async () => {
    const kept = await prepare({ request: { units: { first: 3, end: 4 } } });
    const before = readFileSync(kept.path);
    const full = async (): Promise<never> => {
      throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    };
    expect(await codeOf(prepare({ parts: { writeStage: full } }))).toBe("DISK_FULL");
    expect(await codeOf(prepare({ parts: { freeBytes: async () => 1000 } }))).toBe("DISK_FULL");
    expect(finished()).toHaveLength(1);
    expect(readdirSync(join(directory, "partial"))).toEqual([]);
    expect(readFileSync(kept.path).equals(before)).toBe(true);
    expect((await prepare()).receivedBytes).toBeGreaterThan(0);
  });

  it("stops when it is told to", async () => {
    const source = new FakeSource();
    const controller = new AbortController();
    const hooks = { signal: controller.signal, onProgress: () => controller.abort() };
    expect(await codeOf(prepare({ source, hooks }))).toBe("INTERRUPTED");
    expect(finished()).toEqual([]);
  });

  it("lets one of two workers of a directory fetch, and both have the file", async () => {
    const source = new FakeSource();
    const [a, b] = await Promise.all([prepare({ source }), prepare({ source })]);
    expect(a.path).toBe(b.path);
    expect([a.receivedBytes, b.receivedBytes].filter((bytes) => bytes > 0)).toHaveLength(1);
    expect(source.sentBytes).toBeLessThanOrEqual(neededBytes + 256 * 1024);
  });

  it("does not mistake a file that another process has not finished for a finished one", async () => {
    const { path } = await prepare();
    renameSync(path.replace(/gguf$/, "json"), join(directory, "aside"));
    const source = new FakeSource();
    await prepare({ source });
    expect(source.calls.length).toBeGreaterThan(0);
  });
});

describe("createRangeFetcher", () => {
  async function serve(damage: (data: Buffer) => void): Promise<{ address: string; close: () => Promise<void> }> {
    const bytes = readFileSync(modelPath);
    const server = createServer({
      port: 0,
      services: [
        bindService(TransferService, {
          fetchRanges: async function* ({ ranges }) {
            for (const [range, { offset, length }] of ranges.entries()) {
              const data = Buffer.from(bytes.subarray(Number(offset), Number(offset + length)));
              const checksum = crc32c(data);
              damage(data);
              yield { range, offset, data, crc32c: checksum };
            }
          },
        }),
      ],
    });
    return { address: `127.0.0.1:${await server.start()}`, close: () => server.close(0) };
  }

  it("brings the bytes over gRPC", async () => {
    const server = await serve(() => undefined);
    const stage = await prepare({ parts: { fetch: createRangeFetcher(server.address) } });
    await server.close();
    expect(stage.receivedBytes).toBeGreaterThan(0);
  });

  it("finds damage on the way by the checksum", async () => {
    const server = await serve((data) => {
      data[5] = (data[5] ?? 0) ^ 1;
    });
    expect(await codeOf(prepare({ parts: { fetch: createRangeFetcher(server.address) } }))).toBe("FRAME_CORRUPT");
    await server.close();
  });
});
