import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { getArray, getNumber, openGguf } from "../../gguf/index.ts";
import { describeModel } from "../describe.ts";
import { readStageManifest } from "../stage-manifest.ts";
import { planStage } from "../stage-plan.ts";
import { makeDummyHeader } from "./header.ts";
import { pickBlocks, writeSyntheticStage } from "./like-header.ts";

const MIXED = makeDummyHeader({ layers: 16, type: "q4_k_m", vocab: 300 });
const SLIDING = makeDummyHeader({ architecture: "gemma3", layers: 12, vocab: 300 });

describe("pickBlocks", () => {
  it("keeps shapes and types of the blocks that were picked, in their order", () => {
    const picked = pickBlocks(MIXED, [15, 3]);
    const typesOf = (header: typeof MIXED, block: number): string[] =>
      header.tensors
        .filter(({ name }) => name.startsWith(`blk.${block}.`))
        .map(({ name, dims, type }) => `${name.replace(/^blk\.\d+\./, "")} ${dims.join("x")} ${type.name}`);
    expect(typesOf(picked, 0)).toEqual(typesOf(MIXED, 15));
    expect(typesOf(picked, 1)).toEqual(typesOf(MIXED, 3));
    expect(typesOf(picked, 2)).toEqual([]);
    expect(describeModel(picked, 0)).toMatchObject({ blockCount: 2, vocabSize: 300, embeddingLength: 256 });
  });

  it("takes a block more than once", () => {
    expect(describeModel(pickBlocks(MIXED, [4, 4, 4]), 0).blockCount).toBe(3);
  });

  it("gives every block the window that it had, and none a window that no block has", () => {
    const key = "gemma3.attention.sliding_window";
    const mixed = pickBlocks(SLIDING, [0, 5, 6, 11]).metadata;
    expect(getArray(mixed, `${key}_pattern`)).toEqual([true, false, true, false]);
    expect(getNumber(mixed, key)).toBeGreaterThan(0);
    expect(pickBlocks(SLIDING, [5, 11]).metadata.has(key)).toBe(false);
  });
});

describe("writeSyntheticStage", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "noodle-synthetic-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("writes the file that a cut of the model would be, with other values", async () => {
    const range = { first: 2, end: 5 };
    const path = join(folder, "stage.gguf");
    await writeSyntheticStage(MIXED, range, path, 1);
    const file = await openGguf(path);
    try {
      const planned = planStage(MIXED, range).tensors.map(({ name, dims, type }) => ({ name, dims, type: type.name }));
      expect(file.header.tensors.map(({ name, dims, type }) => ({ name, dims, type: type.name }))).toEqual(planned);
      expect(readStageManifest(file.header)).toMatchObject({ units: range, unitCount: 18, architecture: "llama" });
      const weight = file.tensor("blk.0.ffn_up.weight");
      const bytes = weight === undefined ? new Uint8Array() : await file.readTensor(weight);
      expect(new Set(bytes).size).toBeGreaterThan(100);
    } finally {
      await file.close();
    }
  });

  it("gives the same bytes for the same seed and others for another", async () => {
    const hashes = await Promise.all(
      [1, 1, 2].map(async (seed, index) => {
        const written = await writeSyntheticStage(MIXED, { first: 1, end: 2 }, join(folder, `${index}.gguf`), seed);
        return written.sha256;
      }),
    );
    expect(hashes[0]).toBe(hashes[1]);
    expect(hashes[0]).not.toBe(hashes[2]);
  });
});
