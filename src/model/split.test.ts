import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeModel } from "./describe.ts";
import { type DummyOptions, makeDummyHeader } from "./dummy/index.ts";
import { formatSplit, parseSplit, parseUnits, splitByBytes, stageBytes } from "./split.ts";

function describeDummy(options: DummyOptions) {
  return describeModel(makeDummyHeader(options), 0);
}

const twelveBlocks = describeDummy({ architecture: "llama", layers: 12 });

describe("parseUnits", () => {
  it("reads a half-open range", () => {
    expect(parseUnits("2:14", 14)).toEqual({ first: 2, end: 14 });
  });

  it.each(["", "3", "3-5", "a:b", "1:2:3", "-1:2", "5:5", "6:5", "1.5:2"])('refuses "%s"', (text) => {
    expect(() => parseUnits(text, 14)).toThrowError(expect.objectContaining({ code: "USAGE" }));
  });

  it("refuses units beyond the model", () => {
    expect(() => parseUnits("0:15", 14)).toThrowError(expect.objectContaining({ code: "CUT_OUT_OF_RANGE" }));
  });
});

describe("parseSplit", () => {
  it("reads stages that cover the model", () => {
    const split = parseSplit("0:6, 6:10,10:14", twelveBlocks);
    expect(split).toEqual([
      { first: 0, end: 6 },
      { first: 6, end: 10 },
      { first: 10, end: 14 },
    ]);
    expect(formatSplit(split)).toBe("0:6,6:10,10:14");
  });

  it.each([
    ["a gap", "0:6,7:14"],
    ["an overlap", "0:6,5:14"],
    ["a wrong order", "6:14,0:6"],
    ["a missing beginning", "1:14"],
    ["a missing end", "0:6,6:13"],
    ["an empty stage", "0:6,6:6,6:14"],
    ["words", "all"],
    ["nothing", ""],
  ])("refuses %s", (_what, text) => {
    expect(() => parseSplit(text, twelveBlocks)).toThrowError(expect.objectContaining({ code: "SPLIT_INVALID" }));
  });

  it("refuses a stage beyond the model", () => {
    expect(() => parseSplit("0:6,6:15", twelveBlocks)).toThrowError(
      expect.objectContaining({ code: "CUT_OUT_OF_RANGE" }),
    );
  });

  it("refuses an illegal cut and names the nearest legal ones", () => {
    const model = describeDummy({ architecture: "smollm3", layers: 9 });
    expect(() => parseSplit("0:7,7:11", model)).toThrowError(
      expect.objectContaining({ code: "CUT_ILLEGAL", details: { cut: 7, nearest: [5, 9] } }),
    );
    expect(parseSplit("0:5,5:9,9:10,10:11", model)).toHaveLength(4);
  });

  it("refuses a stage of a number of blocks that changes what the engine reads", () => {
    const model = describeDummy({ architecture: "gemma3", layers: 70, embd: 32, heads: 1, ff: 32, vocab: 258 });
    expect(() => parseSplit("0:63,63:72", model)).toThrowError(expect.objectContaining({ code: "CUT_ILLEGAL" }));
    expect(parseSplit("0:62,62:72", model)).toHaveLength(2);
  });
});

describe("splitByBytes", () => {
  const models = fc.constantFrom(
    twelveBlocks,
    describeDummy({ architecture: "gpt2", layers: 5 }),
    describeDummy({ architecture: "smollm3", layers: 13 }),
    describeDummy({ architecture: "gpt-oss", layers: 6 }),
    describeDummy({ architecture: "llama", layers: 6, tied: false, vocab: 4000 }),
  );

  it("covers every unit once, in order, with legal cuts", () => {
    fc.assert(
      fc.property(models, fc.integer({ min: 1, max: 4 }), (model, stages) => {
        const split = splitByBytes(model, stages);
        expect(split).toHaveLength(stages);
        expect(parseSplit(formatSplit(split), model)).toEqual(split);
      }),
      { seed: 2, numRuns: 50 },
    );
  });

  it("counts embedding and head", () => {
    // The vocabulary outweighs the blocks, so each of its two matrices gets a stage of its own.
    const model = describeDummy({ architecture: "llama", layers: 3, embd: 256, ff: 256, vocab: 20_000, tied: false });
    expect(formatSplit(splitByBytes(model, 3))).toBe("0:1,1:4,4:5");
  });

  it("gives a head that shares the embedding's matrix its copy", () => {
    const model = describeDummy({ architecture: "llama", layers: 3, embd: 256, ff: 256, vocab: 20_000, tied: true });
    const [embedding] = model.units;
    expect(stageBytes(model, { first: 4, end: 5 })).toBe(model.tiedBytes + (model.units[4]?.bytes ?? 0));
    expect(stageBytes(model, { first: 0, end: 5 })).toBe(model.units.reduce((sum, unit) => sum + unit.bytes, 0));
    expect(model.tiedBytes).toBe(embedding?.bytes);
  });

  it("gives each stage with blocks the tensors that every block reads", () => {
    const model = describeDummy({ architecture: "phi3" });
    expect(model.sharedBytes).toBeGreaterThan(0);
    const bytesOf = (first: number, end: number) => stageBytes(model, { first, end });
    expect(bytesOf(0, 3) + bytesOf(3, 6)).toBe(bytesOf(0, 6) + model.sharedBytes + model.tiedBytes);
    expect(bytesOf(0, 1) + bytesOf(1, 5) + bytesOf(5, 6)).toBe(bytesOf(0, 6) + model.tiedBytes);
  });

  it.each([0, 15, 1.5, Number.NaN])("refuses %d stages of fourteen units", (stages) => {
    expect(() => splitByBytes(twelveBlocks, stages)).toThrowError(expect.objectContaining({ code: "SPLIT_INVALID" }));
  });

  it("refuses more stages than there are legal cuts for", () => {
    const model = describeDummy({ architecture: "smollm3", layers: 4 });
    expect(() => splitByBytes(model, 4)).toThrowError(expect.objectContaining({ code: "SPLIT_INVALID" }));
  });
});
