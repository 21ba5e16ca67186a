import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { type GgufFile, type GgufTensor, openGguf } from "../gguf/index.ts";
import { generateDummy } from "./dummy/index.ts";
import { hashModel, type ModelHashes } from "./model-hashes.ts";
import { readStageManifest } from "./stage-manifest.ts";
import { planStage } from "./stage-plan.ts";
import { neededRanges, sourceFromFile, type StageSource } from "./stage-source.ts";
import { writeStage } from "./stage-write.ts";

let folder = "";
let model: GgufFile;
let hashes: ModelHashes;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "noodle-stage-"));
  const path = join(folder, "model.gguf");
  await generateDummy({ architecture: "phi3", layers: 3, embd: 64, heads: 2, kvHeads: 2, ff: 64, vocab: 300 }, path);
  model = await openGguf(path);
  hashes = await hashModel(model);
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true, force: true });
});

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Passes a tensor's data on with one bit changed. */
function damage(source: StageSource, name: string): StageSource {
  return {
    async *streamTensor(tensor: GgufTensor) {
      for await (const piece of source.streamTensor(tensor)) {
        const copy = Uint8Array.from(piece);
        if (tensor.name === name) copy[copy.length - 1] = must(copy.at(-1), "byte") ^ 1;
        yield copy;
      }
    },
  };
}

describe("hashModel", () => {
  it("hashes the file and each tensor in one pass", async () => {
    expect(hashes.sourceSha256).toBe(sha256(await readFile(model.path)));
    expect(hashes.sourceBytes).toBe(model.fileBytes);
    expect(hashes.headerSha256).toBe(await model.headerSha256());
    expect(hashes.tensors.map(({ name }) => name)).toEqual(model.header.tensors.map(({ name }) => name));
    for (const { name, sha256: hash } of hashes.tensors) {
      expect(hash).toBe(sha256(await model.readTensor(must(model.tensor(name), name))));
    }
  });

  it("hashes tensors that begin and end within a piece of the file, and such as span pieces", async () => {
    const path = join(folder, "wide.gguf");
    // 5 MB of token embedding and small tensors around it, read in pieces of 4 MiB.
    await generateDummy({ layers: 1, embd: 256, ff: 64, vocab: 4900, type: "f32" }, path);
    await using wide = await openGguf(path);
    const tensor = must(wide.tensor("token_embd.weight"), "tensor");
    const { tensors } = await hashModel(wide);
    expect(tensors.find(({ name }) => name === tensor.name)?.sha256).toBe(sha256(await wide.readTensor(tensor)));
    const last = must(wide.header.tensors.at(-1), "tensor");
    expect(tensors.at(-1)?.sha256).toBe(sha256(await wide.readTensor(last)));
  });

  it("reports its progress to the end, and stops when told to", async () => {
    const seen: number[] = [];
    await hashModel(model, (done) => seen.push(done));
    expect(seen.at(-1)).toBe(model.fileBytes);
    const control = new AbortController();
    control.abort();
    await expect(hashModel(model, undefined, control.signal)).rejects.toMatchObject({ code: "INTERRUPTED" });
  });
});

describe("writeStage", () => {
  it.each([
    [0, 1],
    [0, 2],
    [1, 3],
    [2, 5],
    [4, 5],
    [0, 5],
  ])("writes the units %i:%i with the source's data and a manifest of them", async (first, end) => {
    const path = join(folder, `stage-${first}-${end}.gguf`);
    const written = await writeStage(sourceFromFile(model), model.header, { first, end }, path, { hashes });
    await using stage = await openGguf(path);
    expect(written.bytes).toBe(stage.fileBytes);
    const manifest = must(readStageManifest(stage.header), "manifest");
    expect(manifest).toMatchObject({
      architecture: "phi3",
      units: { first, end },
      unitCount: 5,
      embeddingScale: null,
      sourceSha256: hashes.sourceSha256,
      headerSha256: hashes.headerSha256,
      sourceBytes: model.fileBytes,
    });
    for (const { name, source, sha256: hash } of manifest.tensors) {
      const data = await stage.readTensor(must(stage.tensor(name), name));
      expect(sha256(data)).toBe(hash);
      expect(Buffer.compare(data, await model.readTensor(must(model.tensor(source), source)))).toBe(0);
    }
    const filled = planStage(model.header, { first, end }).tensors.filter(({ source }) => source.kind === "fill");
    expect(manifest.tensors.length + filled.length).toBe(stage.header.tensors.length);
    for (const { name, type, source } of filled) {
      const data = await stage.readTensor(must(stage.tensor(name), name));
      const isOne = source.kind === "fill" && source.value === 1;
      expect(
        isOne ? new Float32Array(data.buffer).every((value) => value === 1) : data.every((byte) => byte === 0),
      ).toBe(true);
      expect(isOne ? type.name : "f32").toBe("f32");
    }
  });

  it("writes the same bytes again", async () => {
    const range = { first: 1, end: 3 };
    const first = await writeStage(sourceFromFile(model), model.header, range, join(folder, "x.gguf"), { hashes });
    const second = await writeStage(sourceFromFile(model), model.header, range, join(folder, "y.gguf"), { hashes });
    expect(second).toEqual(first);
  });

  it("refuses data with a bit changed, and leaves no file", async () => {
    const source = damage(sourceFromFile(model), "blk.1.ffn_up.weight");
    const path = join(folder, "damaged.gguf");
    await expect(writeStage(source, model.header, { first: 1, end: 4 }, path, { hashes })).rejects.toMatchObject({
      code: "STAGE_CORRUPT",
      details: { tensor: "blk.1.ffn_up.weight" },
    });
    expect((await readdir(folder)).filter((name) => name.startsWith("damaged"))).toEqual([]);
    await writeStage(source, model.header, { first: 1, end: 2 }, path, { hashes });
  });

  it("asks its source for nothing but the ranges that are needed", async () => {
    const range = { first: 2, end: 4 };
    const asked: string[] = [];
    const source: StageSource = {
      streamTensor: (tensor) => {
        asked.push(tensor.name);
        return sourceFromFile(model).streamTensor(tensor);
      },
    };
    await writeStage(source, model.header, range, join(folder, "asked.gguf"), { hashes });
    const ranges = neededRanges(model.header, range);
    expect(ranges.map(({ tensor }) => tensor).sort()).toEqual(asked.sort());
    for (const { tensor, shard, fileOffset, bytes } of ranges) {
      expect({ shard, fileOffset, bytes }).toMatchObject({
        shard: 0,
        fileOffset: model.tensor(tensor)?.fileOffset,
        bytes: model.tensor(tensor)?.bytes,
      });
    }
    const offsets = ranges.map(({ fileOffset }) => fileOffset);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
  });
});

describe("readStageManifest", () => {
  it("finds none in a model as it was downloaded", () => {
    expect(readStageManifest(model.header)).toBeNull();
  });

  it("refuses a manifest of another version, and one that lacks a part", async () => {
    const path = join(folder, "manifest.gguf");
    await writeStage(sourceFromFile(model), model.header, { first: 1, end: 2 }, path, { hashes });
    await using stage = await openGguf(path);
    const metadata = new Map(stage.header.metadata);
    metadata.delete("noodle.source.sha256");
    expect(() => readStageManifest({ ...stage.header, metadata })).toThrowError(
      expect.objectContaining({ code: "GGUF_MALFORMED" }),
    );
    metadata.set("noodle.stage.version", { type: "uint32", value: 99 });
    expect(() => readStageManifest({ ...stage.header, metadata })).toThrowError(
      expect.objectContaining({ code: "GGUF_UNSUPPORTED" }),
    );
  });

  it("tells the scale of embeddings as the float32 that the engine uses", async () => {
    const path = join(folder, "gemma.gguf");
    await generateDummy({ architecture: "gemma3", layers: 1, embd: 96, heads: 2, ff: 32, vocab: 300 }, path);
    await using gemma = await openGguf(path);
    const stagePath = join(folder, "gemma-embed.gguf");
    const gemmaHashes = await hashModel(gemma);
    await writeStage(sourceFromFile(gemma), gemma.header, { first: 0, end: 1 }, stagePath, { hashes: gemmaHashes });
    await using stage = await openGguf(stagePath);
    expect(readStageManifest(stage.header)?.embeddingScale).toBe(Math.fround(Math.sqrt(96)));
  });
});
