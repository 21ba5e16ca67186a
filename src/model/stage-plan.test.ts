import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodeGgufHeader,
  type GgufHeader,
  type GgufValue,
  getArray,
  getNumber,
  getString,
  parseGgufHeader,
} from "../gguf/index.ts";
import { ARCHITECTURES, array, bool, text, uint32 } from "./architectures/index.ts";
import { describeModel } from "./describe.ts";
import { type DummyOptions, makeDummyHeader } from "./dummy/index.ts";
import { planStage } from "./stage-plan.ts";
import type { StageRecipe, StageTensor } from "./stage-recipe.ts";
import type { UnitRange } from "./units.ts";

function copiesOf(recipe: StageRecipe): string[] {
  return recipe.tensors.flatMap(({ source }) => (source.kind === "copy" ? [source.tensor] : []));
}

function tensorOf(recipe: StageRecipe, name: string): StageTensor | undefined {
  return recipe.tensors.find((tensor) => tensor.name === name);
}

function withKeys(header: GgufHeader, edits: Readonly<Record<string, GgufValue>>): GgufHeader {
  return { ...header, metadata: new Map([...header.metadata, ...Object.entries(edits)]) };
}

/** Cuts the model at the given places. */
function planAll(header: GgufHeader, cuts: readonly number[]): StageRecipe[] {
  const { blockCount } = describeModel(header, 0);
  const bounds = [0, ...cuts, blockCount + 2];
  return bounds.slice(1).map((end, i) => planStage(header, { first: bounds[i] ?? 0, end }));
}

const range = (first: number, end: number): UnitRange => ({ first, end });

describe.each([...ARCHITECTURES.values()])("stages of $name", (spec) => {
  const header = makeDummyHeader({ architecture: spec.name, layers: 8 });
  const model = describeModel(header, 0);

  it("copy every tensor of the source exactly once, but for those that several stages need", () => {
    fc.assert(
      fc.property(fc.subarray([...model.legalCuts]), (cuts) => {
        const recipes = planAll(header, cuts);
        const counts = new Map<string, number>();
        for (const name of recipes.flatMap(copiesOf)) counts.set(name, (counts.get(name) ?? 0) + 1);
        const withBlocks = recipes.filter(({ units }) => units.end > 1 && units.first <= 8).length;
        for (const { name } of header.tensors) {
          const isShared = name.startsWith("rope_");
          const isTied = name === "token_embd.weight" && model.tiedHead && cuts.length > 0;
          expect([name, counts.get(name)]).toEqual([name, isShared ? withBlocks : isTied ? 2 : 1]);
        }
      }),
      { seed: 3, numRuns: 40 },
    );
  });

  it("are files that can be written and read, with blocks counted from 0", () => {
    fc.assert(
      fc.property(fc.subarray([...model.legalCuts]), (cuts) => {
        for (const recipe of planAll(header, cuts)) {
          const { metadata, tensors, units } = recipe;
          const encoded = encodeGgufHeader({ version: 3, byteOrder: "little", alignment: 32, metadata, tensors });
          const stage = parseGgufHeader(encoded.header, encoded.header.length + encoded.dataBytes);
          const blocks = new Set(stage.tensors.flatMap(({ name }) => /^blk\.(\d+)\./.exec(name)?.[1] ?? []));
          const held = getNumber(stage.metadata, `${getString(stage.metadata, "general.architecture")}.block_count`);
          expect([...blocks].map(Number)).toEqual(Array.from({ length: held ?? -1 }, (_, i) => i));
          const sourceBlocks = Math.min(units.end - 1, 8) - Math.max(units.first - 1, 0);
          expect(held).toBe(units.first === 9 ? 1 : Math.max(0, sourceBlocks));
        }
      }),
      { seed: 4, numRuns: 20 },
    );
  });

  it("have all that the engine demands of a file without embedding or head", () => {
    const [, second = 3] = model.legalCuts;
    const middle = planStage(header, range(1, second));
    expect(tensorOf(middle, "token_embd.weight")?.dims).toEqual([256, 1]);
    expect(tensorOf(middle, "output_norm.weight")?.source).toEqual({ kind: "fill", value: 1 });
    expect(tensorOf(middle, "output.weight")?.dims).toEqual([256, 1]);
    expect(tensorOf(middle, "output_norm.bias") !== undefined).toBe(spec.outputNormBias);
    expect(getString(middle.metadata, "tokenizer.ggml.model")).toBe("no_vocab");
    expect([...middle.metadata.keys()].filter((key) => key.startsWith("tokenizer."))).toHaveLength(1);
    expect(getNumber(middle.metadata, `${spec.name}.vocab_size`)).toBe(1);
    expect(middle.embeddingScale).toBeNull();
  });

  it("keep the whole vocabulary where tokens come in or go out", () => {
    const [cut = 1] = model.legalCuts;
    for (const stage of [planStage(header, range(0, cut)), planStage(header, range(cut, 10))]) {
      expect(getArray(stage.metadata, "tokenizer.ggml.tokens")).toHaveLength(512);
      expect(tensorOf(stage, "token_embd.weight")?.dims).toEqual([256, 512]);
    }
  });
});

describe("planStage", () => {
  const llama = makeDummyHeader({ layers: 4 });

  it("leaves the whole model unchanged, but for what tells the shards of a file", () => {
    const recipe = planStage(withKeys(llama, { "split.count": uint32(1) }), range(0, 6));
    expect(recipe.metadata).toEqual(llama.metadata);
    expect(recipe.tensors.map(({ name, dims, type }) => ({ name, dims, type }))).toEqual(
      llama.tensors.map(({ name, dims, type }) => ({ name, dims, type })),
    );
    expect(recipe.weightsBytes).toBe(llama.tensors.reduce((sum, { bytes }) => sum + bytes, 0));
  });

  it("gives the whole of a model that cannot be cut", () => {
    const header = withKeys(llama, { "llama.nextn_predict_layers": uint32(1) });
    expect(planStage(header, range(0, 6)).tensors).toHaveLength(llama.tensors.length);
    expect(() => planStage(header, range(0, 5))).toThrowError(expect.objectContaining({ code: "MODEL_UNSUPPORTED" }));
  });

  it.each([range(0, 7), range(-1, 3), range(3, 3), range(4, 2), range(0.5, 2), range(0, Number.NaN)])(
    "refuses the units $first:$end of 0:6",
    (units) => {
      expect(() => planStage(llama, units)).toThrowError(expect.objectContaining({ code: "CUT_OUT_OF_RANGE" }));
    },
  );

  it("refuses an illegal cut", () => {
    const header = makeDummyHeader({ architecture: "smollm3", layers: 8 });
    expect(() => planStage(header, range(3, 10))).toThrowError(
      expect.objectContaining({ code: "CUT_ILLEGAL", details: { cut: 3, nearest: [1, 5] } }),
    );
  });

  it("refuses a model without token embedding", () => {
    const tensors = llama.tensors.filter(({ name }) => name !== "token_embd.weight");
    expect(() => planStage({ ...llama, tensors }, range(1, 3))).toThrowError(
      expect.objectContaining({ code: "GGUF_MALFORMED" }),
    );
  });

  it("slices arrays that have an item for each block, and no others", () => {
    const header = withKeys(llama, {
      "llama.attention.head_count_kv": array("uint32", [2, 2, 2, 2]),
      "llama.per_layer": array("float32", [1, 2, 3, 4]),
      "llama.rope.dimension_sections": array("int32", [5, 6, 7, 8]),
      "llama.other": array("uint32", [1, 2, 3]),
      "general.tags": array("string", ["a", "b", "c", "d"]),
    });
    const { metadata } = planStage(header, range(2, 4));
    expect(getArray(metadata, "llama.attention.head_count_kv")).toEqual([2, 2]);
    expect(getArray(metadata, "llama.per_layer")).toEqual([2, 3]);
    expect(getArray(metadata, "llama.rope.dimension_sections")).toEqual([5, 6, 7, 8]);
    expect(getArray(metadata, "llama.other")).toEqual([1, 2, 3]);
    expect(getArray(metadata, "general.tags")).toHaveLength(4);
  });

  it("counts leading layers from the stage's first block", () => {
    const header = withKeys(llama, { "llama.leading_dense_block_count": uint32(2) });
    const leading = (units: UnitRange) =>
      getNumber(planStage(header, units).metadata, "llama.leading_dense_block_count");
    expect([leading(range(0, 2)), leading(range(2, 4)), leading(range(4, 6))]).toEqual([2, 1, 0]);
  });

  it("gives a head without its embedding the output matrix once, and zeros to look tokens up in", () => {
    for (const tied of [true, false]) {
      const stage = planStage(makeDummyHeader({ layers: 4, tied }), range(3, 6));
      const source = tied ? "token_embd.weight" : "output.weight";
      expect(tensorOf(stage, "output.weight")?.source).toEqual({ kind: "copy", tensor: source });
      expect(tensorOf(stage, "token_embd.weight")?.source).toEqual({ kind: "fill", value: 0 });
    }
  });

  it("has the stage of the embedding alone hold its tables and nothing else", () => {
    const recipe = planStage(makeDummyHeader({ architecture: "gpt2" }), range(0, 1));
    expect(recipe.tensors.map(({ name }) => name)).toEqual(["token_embd.weight", "position_embd.weight"]);
    expect(getNumber(recipe.metadata, "gpt2.block_count")).toBe(0);
  });

  it("adds positions once", () => {
    const header = makeDummyHeader({ architecture: "gpt2" });
    const first = tensorOf(planStage(header, range(0, 3)), "position_embd.weight");
    const second = tensorOf(planStage(header, range(3, 6)), "position_embd.weight");
    expect(first?.source).toEqual({ kind: "copy", tensor: "position_embd.weight" });
    expect(second?.source).toEqual({ kind: "fill", value: 0 });
    expect(second?.dims).toEqual(first?.dims);
  });

  it("scales embeddings once", () => {
    const granite = makeDummyHeader({ architecture: "granite" });
    const scaleOf = (units: UnitRange) => getNumber(planStage(granite, units).metadata, "granite.embedding_scale");
    expect(planStage(granite, range(0, 1)).embeddingScale).toBe(12);
    expect([scaleOf(range(0, 3)), scaleOf(range(3, 5)), scaleOf(range(5, 6))]).toEqual([12, undefined, undefined]);
    const gemma = makeDummyHeader({ architecture: "gemma3", embd: 320, heads: 4 });
    expect(planStage(gemma, range(0, 1)).embeddingScale).toBe(Math.fround(Math.sqrt(320)));
    expect(planStage(llama, range(0, 1)).embeddingScale).toBeNull();
  });
});

describe("sliding windows of a stage", () => {
  const key = "gemma3.attention.sliding_window";
  const dummy: DummyOptions = { architecture: "gemma3", layers: 8, slidingWindow: 32 };

  it("are told layer by layer where the file leaves them to habit", () => {
    const { metadata } = planStage(makeDummyHeader(dummy), range(5, 8));
    expect(metadata.get(`${key}_pattern`)).toEqual(array("bool", [true, false, true]));
    expect(getNumber(metadata, key)).toBe(32);
  });

  it("are told layer by layer where the file gives a period", () => {
    const header = withKeys(makeDummyHeader(dummy), { [`${key}_pattern`]: uint32(2) });
    expect(getArray(planStage(header, range(2, 5)).metadata, `${key}_pattern`)).toEqual([false, true, false]);
  });

  it("are those of the file where it tells them layer by layer", () => {
    const flags = [true, true, false, false, true, false, true, true];
    for (const pattern of [array("bool", flags), array("uint32", flags.map(Number))]) {
      const header = withKeys(makeDummyHeader(dummy), { [`${key}_pattern`]: pattern });
      expect(getArray(planStage(header, range(4, 8)).metadata, `${key}_pattern`)).toEqual(flags.slice(3, 7));
    }
  });

  it("are left out of a stage in which no layer has one", () => {
    for (const units of [range(6, 7), range(9, 10)]) {
      const { metadata } = planStage(makeDummyHeader(dummy), units);
      expect([metadata.has(key), metadata.has(`${key}_pattern`)]).toEqual([false, false]);
    }
  });
});

describe("a stage of the head alone", () => {
  it("is a small llama where the head is plain", () => {
    const header = makeDummyHeader({ architecture: "qwen2moe" });
    const recipe = planStage(header, range(5, 6));
    expect(recipe.architecture).toBe("qwen2moe");
    expect(getString(recipe.metadata, "general.architecture")).toBe("llama");
    expect([...recipe.metadata.keys()].filter((key) => key.startsWith("qwen2moe."))).toEqual([]);
    expect(recipe.metadata.get("llama.attention.layer_norm_rms_epsilon")).toEqual(
      header.metadata.get("qwen2moe.attention.layer_norm_rms_epsilon"),
    );
    expect(tensorOf(recipe, "blk.0.attn_q.weight")?.dims).toEqual([256, 32]);
  });

  it("is a small model of its own architecture where the head does more", () => {
    const recipe = planStage(makeDummyHeader({ architecture: "granitemoe" }), range(5, 6));
    expect(getString(recipe.metadata, "general.architecture")).toBe("granitemoe");
    expect(getNumber(recipe.metadata, "granitemoe.logit_scale")).toBe(8);
    expect([...recipe.metadata.keys()].filter((key) => key.includes("expert"))).toEqual([]);
    expect(recipe.tensors.some(({ name }) => name.includes("exps"))).toBe(false);
  });

  it("adds nothing: matrices and biases are zero, norms one", () => {
    for (const architecture of ["gpt2", "gemma3", "starcoder2", "stablelm", "llama"]) {
      const recipe = planStage(makeDummyHeader({ architecture }), range(5, 6));
      const block = recipe.tensors.filter(({ name }) => name.startsWith("blk.0."));
      expect(block.length).toBeGreaterThan(8);
      for (const { name, source } of block) {
        expect([name, source]).toEqual([name, { kind: "fill", value: name.endsWith("norm.weight") ? 1 : 0 }]);
      }
    }
  });

  it("refuses a model that lacks what its norm needs", () => {
    const header = makeDummyHeader({});
    const metadata = new Map([...header.metadata].filter(([key]) => !key.endsWith("epsilon")));
    expect(() => planStage({ ...header, metadata }, range(5, 6))).toThrowError(
      expect.objectContaining({ code: "GGUF_MALFORMED" }),
    );
  });
});

describe("the general recipe", () => {
  /** Llama under a name that nobody knows. */
  const header = rename(makeDummyHeader({ layers: 4, experts: 4, tied: false }), "newarch");

  function rename(source: GgufHeader, architecture: string): GgufHeader {
    const entries = [...source.metadata].map(([key, value]) => [key.replace(/^llama\./, `${architecture}.`), value]);
    const metadata = new Map<string, GgufValue>(entries as [string, GgufValue][]);
    metadata.set("general.architecture", text(architecture));
    metadata.set(`${architecture}.embedding_scale`, { type: "float32", value: 3 });
    metadata.set(`${architecture}.flags`, { ...array("bool", [true, true, false, true]) });
    metadata.set(`${architecture}.on`, bool(true));
    return { ...source, metadata };
  }

  it("is used only when asked for", () => {
    expect(() => planStage(header, range(0, 3))).toThrowError(expect.objectContaining({ code: "MODEL_UNVERIFIED" }));
    expect(planStage(header, range(0, 3), { allowUnverified: true }).unitCount).toBe(6);
  });

  it("slices, renumbers and scales as for known architectures", () => {
    const recipe = planStage(header, range(2, 4), { allowUnverified: true });
    expect(getArray(recipe.metadata, "newarch.flags")).toEqual([true, false]);
    expect(recipe.metadata.has("newarch.embedding_scale")).toBe(false);
    expect(copiesOf(recipe).every((name) => /^blk\.[12]\./.test(name))).toBe(true);
    expect(planStage(header, range(0, 1), { allowUnverified: true }).embeddingScale).toBe(3);
  });

  it("puts a zero block as wide as the model's last before a lone head", () => {
    const recipe = planStage(header, range(5, 6), { allowUnverified: true });
    const last = header.tensors.filter(({ name }) => name.startsWith("blk.3."));
    const block = recipe.tensors.filter(({ name }) => name.startsWith("blk.0."));
    expect(block.map(({ name, dims }) => [name.replace("blk.0.", "blk.3."), dims])).toEqual(
      last.map(({ name, dims }) => [name, dims]),
    );
    expect(getArray(recipe.metadata, "newarch.flags")).toEqual([true]);
    expect(getNumber(recipe.metadata, "newarch.block_count")).toBe(1);
  });
});
