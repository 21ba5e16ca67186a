import { describe, expect, it } from "vitest";
import type { HookLevel } from "../observe/index.ts";
import { compileProfileOptions, type ProfileOptions } from "./options.ts";

describe("compileProfileOptions", () => {
  it("has a value for everything, and sorts the axes", () => {
    expect(compileProfileOptions({ model: "m.gguf", prefillRows: [64, 16, 64] })).toMatchObject({
      model: "m.gguf",
      like: null,
      synthetic: false,
      level: "role",
      prefillRows: [16, 64],
      decodeRows: [1, 2, 4, 8, 16],
      contexts: [0, 512, 2048],
      budgetMs: 60_000,
    });
  });

  it("takes a shape as synthetic", () => {
    expect(compileProfileOptions({ like: "gpt2-124m", type: "f16" })).toMatchObject({ synthetic: true, type: "f16" });
  });

  it.each<[string, ProfileOptions]>([
    ["nothing to profile", {}],
    ["a file and a shape", { model: "m.gguf", like: "llama-1b" }],
    ["a type for a file", { model: "m.gguf", type: "f16" }],
    ["an unknown level", { model: "m.gguf", level: "step" as HookLevel }],
    ["no rows", { model: "m.gguf", prefillRows: [0] }],
    ["part of a row", { model: "m.gguf", decodeRows: [1.5] }],
    ["too many sequences", { model: "m.gguf", decodeRows: [1000] }],
    ["a negative context", { model: "m.gguf", contexts: [-1] }],
    ["no context", { model: "m.gguf", contexts: [] }],
    ["neither phase", { model: "m.gguf", prefillRows: [], decodeRows: [] }],
    ["no time", { model: "m.gguf", budgetMs: 0 }],
    ["time that is no number", { model: "m.gguf", budgetMs: Number.NaN }],
  ])("refuses %s", (_what, options) => {
    expect(() => compileProfileOptions(options)).toThrow(expect.objectContaining({ code: "USAGE" }));
  });
});
