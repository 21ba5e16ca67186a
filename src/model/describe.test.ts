import { describe, expect, it } from "vitest";
import { encodeGgufHeader, type GgufHeader, type GgufValue, parseGgufHeader } from "../gguf/index.ts";
import { ARCHITECTURES, array, text, uint32 } from "./architectures/index.ts";
import { describeModel } from "./describe.ts";
import { makeDummyHeader } from "./dummy/index.ts";

/** The header with some keys set, or left out where the value is null. */
function editHeader(header: GgufHeader, edits: Readonly<Record<string, GgufValue | null>>): GgufHeader {
  const metadata = new Map(header.metadata);
  for (const [key, value] of Object.entries(edits)) {
    if (value === null) metadata.delete(key);
    else metadata.set(key, value);
  }
  const { header: bytes, dataBytes } = encodeGgufHeader({ ...header, metadata });
  return parseGgufHeader(bytes, bytes.length + dataBytes);
}

describe.each([...ARCHITECTURES.keys()])("a dummy of %s", (architecture) => {
  const header = makeDummyHeader({ architecture, layers: 3 });
  const model = describeModel(header, 123);

  it("has units whose bytes and tensors are those of the file", () => {
    expect(model.units.map((unit) => unit.name)).toEqual(["embed", "blk.0", "blk.1", "blk.2", "head"]);
    const bytes = header.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
    expect(model.units.reduce((sum, unit) => sum + unit.bytes, 0)).toBe(bytes);
    const names = model.units.flatMap((unit) => unit.tensors);
    expect(names.sort()).toEqual(header.tensors.map((tensor) => tensor.name).sort());
  });

  it("has roles that add up to each unit's bytes", () => {
    for (const { bytes, roles } of model.units) {
      expect(roles.attentionBytes + roles.mlpBytes + roles.normBytes + roles.otherBytes).toBe(bytes);
    }
    const block = model.units[2];
    expect(block?.roles.attentionBytes).toBeGreaterThan(0);
    expect(block?.roles.mlpBytes).toBeGreaterThan(0);
    expect(block?.roles.normBytes).toBeGreaterThan(0);
  });

  it("is verified, and every place between two units is legal or has a reason", () => {
    expect(model.support).toBe("verified");
    expect(new Set([...model.legalCuts, ...model.illegalCuts.map(({ cut }) => cut)])).toEqual(new Set([1, 2, 3, 4]));
    expect(model.legalCuts.length + model.illegalCuts.length).toBe(4);
    expect(model.legalCuts).toContain(1);
  });
});

describe("describeModel", () => {
  it("reads the shape of a known model", () => {
    const model = describeModel(makeDummyHeader({ like: "qwen3-0.6b", type: "q8_0" }), 0);
    expect(model).toMatchObject({
      architecture: "qwen3",
      contextLength: 40_960,
      embeddingLength: 1024,
      vocabSize: 151_936,
      quantization: "Q8_0",
      tiedHead: true,
    });
    expect(model.parameters / 1e6).toBeCloseTo(596, 0);
    // 8 heads of 128 keys and 128 values, two bytes each.
    expect(model.units[1]?.kvBytesPerToken).toBe(8 * 256 * 2);
    expect(model.units[0]?.kvBytesPerToken).toBe(0);
  });

  it("tells an output matrix of its own", () => {
    expect(describeModel(makeDummyHeader({ tied: false }), 0)).toMatchObject({ tiedHead: false, tiedBytes: 0 });
  });

  it("names the type of most bytes when the file gives no file type", () => {
    const header = editHeader(makeDummyHeader({ type: "q6_k" }), { "general.file_type": null });
    expect(describeModel(header, 0).quantization).toBe("Q6_K");
  });

  it("reads widths that differ by block", () => {
    const header = editHeader(makeDummyHeader({ layers: 2 }), {
      "llama.attention.head_count_kv": array("uint32", [4, 2]),
    });
    const model = describeModel(header, 0);
    expect(model.units.map((unit) => unit.kvBytesPerToken)).toEqual([0, 4 * 64 * 2 * 2, 2 * 64 * 2 * 2, 0]);
    expect(model.illegalCuts.map(({ cut }) => cut)).toEqual([2]);
  });

  it("describes an architecture that nobody knows, as unverified", () => {
    const header = editHeader(makeDummyHeader({}), {
      "general.architecture": text("newarch"),
      "newarch.embedding_length": uint32(256),
    });
    const model = describeModel(header, 0);
    expect(model).toMatchObject({ architecture: "newarch", support: "unverified", contextLength: 0 });
    expect(model.units).toHaveLength(6);
  });

  it.each([
    ["scales every input", { "general.architecture": text("gemma2"), "gemma2.embedding_length": uint32(256) }],
    ["has extra layers", { "llama.nextn_predict_layers": uint32(1) }],
    ["mixes images into later layers", { "llama.deepstack_mapping": array("int32", [-1, 0, 1, -1]) }],
    ["does not tell its width", { "llama.embedding_length": null }],
  ])("finds no legal cut in a model that %s", (_what, edits) => {
    const model = describeModel(editHeader(makeDummyHeader({}), edits), 0);
    expect(model.support).toBe("unsupported");
    expect(model.legalCuts).toEqual([]);
    expect(model.illegalCuts).toHaveLength(5);
  });

  it.each([
    ["gemma3", 62],
    ["exaone4", 64],
  ])("keeps the blocks of %s together when there are exactly %d", (architecture, layers) => {
    const header = makeDummyHeader({ architecture, layers, embd: 32, heads: 1, kvHeads: 1, ff: 32, vocab: 258 });
    expect(describeModel(header, 0).legalCuts).toEqual([1, layers + 1]);
  });

  it("allows smollm3 to be cut only where the layers without positions stay in step", () => {
    expect(describeModel(makeDummyHeader({ architecture: "smollm3", layers: 9 }), 0).legalCuts).toEqual([1, 5, 9, 10]);
  });

  it("has stages of gpt-oss begin with a windowed block and keeps the head with its last block", () => {
    expect(describeModel(makeDummyHeader({ architecture: "gpt-oss", layers: 5 }), 0).legalCuts).toEqual([1, 3, 5]);
  });

  it("does not let a head alone that a llama file cannot carry", () => {
    const header = makeDummyHeader({ architecture: "qwen2" });
    const [outputNorm] = header.tensors.filter(({ name }) => name === "output_norm.weight");
    const tensors = [...header.tensors, { ...outputNorm, name: "output.bias" }] as GgufHeader["tensors"];
    expect(describeModel({ ...header, tensors }, 0).illegalCuts.map(({ cut }) => cut)).toEqual([5]);
  });
});
