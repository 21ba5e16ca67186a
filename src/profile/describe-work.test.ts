import { describe, expect, it } from "vitest";
import { simulateWork } from "./testing.ts";

const classesOf = (model: Parameters<typeof simulateWork>[0]): string[] =>
  simulateWork(model).units.map((unit) => unit.unitClass);

describe("describeWork", () => {
  it("puts alike blocks into one class, and the last, which drops rows, into its own", () => {
    expect(classesOf({ like: "gpt2-124m", layers: 4 })).toEqual([
      "embed",
      "block",
      "block",
      "block",
      "block.last",
      "head",
    ]);
  });

  it("tells blocks with a window apart", () => {
    const classes = classesOf({ like: "gemma3-270m", layers: 7 });
    expect(classes.slice(1, 8)).toEqual([...Array<string>(5).fill("block.sliding"), "block", "block.sliding.last"]);
  });

  it("tells blocks of other weight types apart by letters in order of appearance", () => {
    const classes = classesOf({ like: "llama-1b", layers: 8, type: "q4_k_m" });
    expect(classes.slice(1, 9)).toEqual(
      ["a", "b", "b", "a", "b", "b", "a", "a"].map((letter, index) =>
        index === 7 ? `block.${letter}.last` : `block.${letter}`,
      ),
    );
  });

  it("gives the last block no class of its own where it keeps all rows", () => {
    expect(classesOf({ architecture: "gpt-oss", layers: 4 })).not.toContain("block.last");
    expect(classesOf({ architecture: "gpt-oss", layers: 4 }).some((name) => name.endsWith(".last"))).toBe(false);
  });

  it("counts a matrix that head and embedding share in both", () => {
    const tied = simulateWork({ like: "gpt2-124m", layers: 1 }).units;
    const inEmbedding = tied[0]?.tensors.find((tensor) => tensor.name === "token_embd.weight");
    const inHead = tied.at(-1)?.tensors.find((tensor) => tensor.name === "token_embd.weight");
    expect(inEmbedding).toMatchObject({ use: "lookup", role: "embedding.token" });
    expect(inHead).toMatchObject({ use: "matrix", role: "head", bytes: inEmbedding?.bytes });
  });

  it("gives every tensor of every known architecture's block a role", () => {
    for (const architecture of ["gpt2", "llama", "qwen3moe", "phi3", "gemma3", "olmo2", "gpt-oss", "granitemoe"]) {
      const tensors = simulateWork({ architecture, layers: 2, vocab: 512 }).units.flatMap((unit) => unit.tensors);
      expect(tensors.filter((tensor) => tensor.role === "other").map((tensor) => tensor.name)).toEqual([]);
    }
  });

  it("counts what every block reads with every block", () => {
    const units = simulateWork({ architecture: "phi3", layers: 2, vocab: 512 }).units;
    for (const unit of units.slice(1, 3)) {
      expect(unit.tensors.map((tensor) => tensor.name)).toContain("rope_factors_long.weight");
    }
  });
});
