import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ggmlTypeByName, openGguf } from "../../gguf/index.ts";
import { generateDummy } from "./generate.ts";
import { generateWeight, WEIGHT_TYPE_NAMES } from "./weight-data.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "noodle-dummy-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Pins the bytes: a change here changes every dummy that a seed names. */
const GOLDEN_SHA256 = "0e14cbba236b31554ceed4f3c9b3b966aae1bb8e007ed18e54bc15154f1bc597";

const TINY = { layers: 1, embd: 32, heads: 2, kvHeads: 1, ff: 32, vocab: 300 };

describe("generateDummy", () => {
  it("writes the same bytes for the same seed on every machine", async () => {
    const first = await generateDummy({ ...TINY, seed: 11 }, join(folder, "a.gguf"));
    const second = await generateDummy({ ...TINY, seed: 11 }, join(folder, "b.gguf"));
    expect(second).toEqual(first);
    expect(first.sha256).toBe(GOLDEN_SHA256);
  });

  it("writes other weights for another seed", async () => {
    const first = await generateDummy({ ...TINY, seed: 1 }, join(folder, "a.gguf"));
    const second = await generateDummy({ ...TINY, seed: 2 }, join(folder, "b.gguf"));
    expect(second.bytes).toBe(first.bytes);
    expect(second.sha256).not.toBe(first.sha256);
  });

  it("writes a file that can be opened, its norms near one", async () => {
    const path = join(folder, "a.gguf");
    await generateDummy({ ...TINY, architecture: "gpt2", kvHeads: 2 }, path);
    await using file = await openGguf(path);
    const tensor = file.tensor("blk.0.attn_norm.weight");
    expect(tensor).toBeDefined();
    if (tensor === undefined) return;
    const values = new Float32Array((await file.readTensor(tensor)).buffer);
    expect(values).toHaveLength(32);
    expect(values.every((value) => value > 0.89 && value < 1.11)).toBe(true);
  });

  it("stops when it is told to, leaving no file", async () => {
    const control = new AbortController();
    control.abort();
    const path = join(folder, "stopped.gguf");
    await expect(generateDummy(TINY, path, { signal: control.signal })).rejects.toMatchObject({ code: "INTERRUPTED" });
    await expect(openGguf(path)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });
});

describe("generateWeight", () => {
  /** Whole rows, more than one piece of data in the wider types. */
  const dims = [1024, 512];

  it.each(WEIGHT_TYPE_NAMES)("fills a matrix of %s completely, with few zero bytes", (typeName) => {
    const type = ggmlTypeByName(typeName);
    let bytes = 0;
    let zeros = 0;
    for (const piece of generateWeight({ name: "w", dims, type, kind: "matrix" }, 5)) {
      bytes += piece.length;
      for (const byte of piece) if (byte === 0) zeros++;
    }
    expect(bytes).toBe(((1024 * 512) / type.blockElements) * type.blockBytes);
    expect(zeros / bytes).toBeLessThan(0.05);
  });

  it.each(["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"])(
    "has weights of %s about 1/sqrt(row) in size, and of mean 0",
    (typeName) => {
      const weights = [...decode(typeName, dims)];
      const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
      const deviation = Math.sqrt(weights.reduce((sum, weight) => sum + weight ** 2, 0) / weights.length);
      expect(deviation * 32).toBeGreaterThan(0.9);
      expect(deviation * 32).toBeLessThan(1.1);
      expect(Math.abs(mean * 32)).toBeLessThan(0.02);
    },
  );

  /** Values of a generated matrix; the formats are those of ggml-quants.c. */
  function* decode(typeName: string, shape: number[]): Generator<number> {
    const type = ggmlTypeByName(typeName);
    for (const piece of generateWeight({ name: "w", dims: shape, type, kind: "matrix" }, 5)) {
      const view = new DataView(piece.buffer, piece.byteOffset, piece.length);
      for (let block = 0; block < piece.length; block += type.blockBytes) yield* decodeBlock(view, block, typeName);
    }
  }

  function* decodeBlock(view: DataView, at: number, typeName: string): Generator<number> {
    if (typeName === "f32") return yield view.getFloat32(at, true);
    if (typeName === "f16") return yield half(view.getUint16(at, true));
    if (typeName === "bf16") {
      const bits = new DataView(new ArrayBuffer(4));
      bits.setUint32(0, view.getUint16(at, true) * 2 ** 16);
      return yield bits.getFloat32(0);
    }
    const scale = half(view.getUint16(at, true));
    if (typeName === "q8_0") {
      for (let i = 0; i < 32; i++) yield scale * view.getInt8(at + 2 + i);
      return;
    }
    const hasOffset = typeName.endsWith("_1");
    const isFive = typeName.startsWith("q5");
    const offset = hasOffset ? half(view.getUint16(at + 2, true)) : -scale * (isFive ? 16 : 8);
    const quants = at + (hasOffset ? 4 : 2) + (isFive ? 4 : 0);
    const high = isFive ? view.getUint32(quants - 4, true) : 0;
    for (let i = 0; i < 32; i++) {
      const byte = view.getUint8(quants + (i % 16));
      const low = i < 16 ? byte & 15 : byte >>> 4;
      yield scale * (low + 16 * ((high >>> i) & 1)) + offset;
    }
  }

  function half(bits: number): number {
    const magnitude =
      (bits >>> 10) & 31 ? (1 + (bits & 1023) / 1024) * 2 ** (((bits >>> 10) & 31) - 15) : (bits & 1023) / 2 ** 24;
    return bits & 0x8000 ? -magnitude : magnitude;
  }
});
