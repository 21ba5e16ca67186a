import { describe, expect, it } from "vitest";
import { ARCHITECTURES } from "../architectures/index.ts";
import { makeDummyHeader } from "./header.ts";
import { compileDummyOptions, type DummyOptions } from "./options.ts";
import { DUMMY_SHAPES } from "./shapes.ts";

describe("compileDummyOptions", () => {
  it("takes a known shape and changes what is asked for", () => {
    expect(compileDummyOptions({ like: "llama-1b", layers: 2 })).toMatchObject({
      architecture: "llama",
      layers: 2,
      embd: 2048,
      heads: 32,
      kvHeads: 8,
      headSize: 64,
      ff: 8192,
      vocab: 32_000,
      tied: false,
      type: "q4_0",
      seed: 0,
    });
  });

  it("keeps a shape's head size only while its heads and width are kept", () => {
    expect(compileDummyOptions({ like: "qwen3-0.6b" }).headSize).toBe(128);
    expect(compileDummyOptions({ like: "qwen3-0.6b", embd: 512 }).headSize).toBe(32);
  });

  it.each<[string, DummyOptions]>([
    ["an unknown shape", { like: "llama-9000b" }],
    ["a shape of another architecture", { like: "llama-1b", architecture: "gpt2" }],
    ["no layers", { layers: 0 }],
    ["half a layer", { layers: 1.5 }],
    ["a width below 32", { embd: 16 }],
    ["heads that do not divide the width", { embd: 256, heads: 3 }],
    ["an odd head size", { architecture: "qwen3", headSize: 33 }],
    ["a head size that the architecture ties to the width", { architecture: "qwen2", headSize: 128 }],
    ["key heads that do not divide the heads", { heads: 4, kvHeads: 3 }],
    ["more key heads than heads", { heads: 4, kvHeads: 8 }],
    ["fewer key heads than heads where none are shared", { architecture: "gpt2", heads: 4, kvHeads: 2 }],
    ["a feed-forward layer below 32", { ff: 31 }],
    ["a vocabulary without room for every byte", { vocab: 257 }],
    ["experts in a dense architecture", { architecture: "gpt2", experts: 4 }],
    ["no experts in an architecture of experts", { architecture: "olmoe", experts: 0 }],
    ["a single expert", { architecture: "llama", experts: 1 }],
    ["a window where there are none", { architecture: "llama", slidingWindow: 32 }],
    ["no output matrix where one is required", { architecture: "olmo2", tied: true }],
    ["an unknown weight type", { type: "q4_9" }],
    ["a weight type without random blocks", { type: "iq1_s" }],
    ["a negative seed", { seed: -1 }],
    ["a context below 16", { contextLength: 8 }],
  ])("refuses %s", (_what, options) => {
    expect(() => compileDummyOptions(options)).toThrowError(expect.objectContaining({ code: "USAGE" }));
  });

  it("refuses an architecture of which no dummies can be made", () => {
    expect(() => compileDummyOptions({ architecture: "mamba" })).toThrowError(
      expect.objectContaining({ code: "MODEL_UNSUPPORTED" }),
    );
  });
});

describe("a dummy's header", () => {
  it.each([...ARCHITECTURES.keys()])("can be made of %s without further options", (architecture) => {
    expect(makeDummyHeader({ architecture }).tensors.length).toBeGreaterThan(20);
  });

  it.each([...DUMMY_SHAPES.keys()])("can be made like %s", (like) => {
    const shape = DUMMY_SHAPES.get(like);
    const header = makeDummyHeader({ like, vocab: 300 });
    const blocks = new Set(header.tensors.flatMap(({ name }) => /^blk\.(\d+)\./.exec(name)?.[1] ?? []));
    expect(blocks.size).toBe(shape?.layers);
    expect(header.tensors.some(({ name }) => name === "output.weight")).toBe(shape?.tied === false);
  });

  it("refuses rows that are no multiple of the weight type's blocks", () => {
    expect(() => makeDummyHeader({ like: "smollm2-135m", vocab: 300, type: "q4_k" })).toThrowError(
      expect.objectContaining({ code: "USAGE", details: expect.objectContaining({ rowElements: 576 }) }),
    );
  });

  it("mixes Q4_K and Q6_K as the engine's quantiser does", () => {
    const header = makeDummyHeader({ layers: 8, type: "q4_k_m", tied: false });
    const typeOf = (name: string) => header.tensors.find((tensor) => tensor.name === name)?.type.name;
    expect(typeOf("output.weight")).toBe("q6_k");
    expect(typeOf("token_embd.weight")).toBe("q4_k");
    const types = Array.from({ length: 8 }, (_, block) => typeOf(`blk.${block}.ffn_down.weight`));
    expect(types).toEqual(["q6_k", "q4_k", "q4_k", "q6_k", "q4_k", "q4_k", "q6_k", "q6_k"].map(String));
    expect(typeOf("blk.1.attn_q.weight")).toBe("q4_k");
    const narrow = makeDummyHeader({ like: "smollm2-135m", vocab: 300, type: "q4_k_m" });
    expect(narrow.tensors.find(({ name }) => name === "blk.0.attn_q.weight")?.type.name).toBe("q5_0");
  });
});
