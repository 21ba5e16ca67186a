import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkInput, countOutputRows, findNonFinite, groupRuns, type InputLimits } from "./runs.ts";
import { mixSeed } from "./sampler.ts";
import type { RowRun, StageInput } from "./types.ts";

const run = (slot: number, rows: number, position = 0): RowRun => ({ slot, rows, position, output: "last" });

describe("groupRuns", () => {
  it("puts consecutive slots of equal rows into one call, whatever their order", () => {
    expect(groupRuns([run(2, 1), run(0, 1), run(1, 1)])).toEqual([[1, 2, 0]]);
  });

  it("parts where a slot is missing or the rows differ", () => {
    expect(groupRuns([run(0, 1), run(2, 1), run(3, 4), run(4, 4)])).toEqual([[0], [1], [2, 3]]);
  });

  it("names every run exactly once", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(40), { maxLength: 16 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 3 })),
        (slots, rows) => {
          const runs = slots.map((slot) => run(slot, rows.next().value ?? 1));
          expect(
            groupRuns(runs)
              .flat()
              .toSorted((a, b) => a - b),
          ).toEqual(runs.map((_, i) => i));
        },
      ),
      { seed: 11 },
    );
  });
});

describe("countOutputRows", () => {
  it("counts what leaves the last block", () => {
    expect([
      countOutputRows({ ...run(0, 5), output: "none" }),
      countOutputRows(run(0, 5)),
      countOutputRows({ ...run(0, 5), output: "all" }),
    ]).toEqual([0, 1, 5]);
  });
});

describe("checkInput", () => {
  const limits: InputLimits = {
    parallel: 2,
    contextTokens: 16,
    maxRows: 8,
    nEmbd: 4,
    wantsHidden: true,
    outputRowsOnly: false,
  };
  const input = (runs: RowRun[], tokens = 1, hidden: number | null = 4): StageInput => ({
    runs,
    tokens: new Int32Array(tokens),
    hidden: hidden === null ? null : new Float32Array(hidden),
  });
  const codeOf = (value: StageInput, change: Partial<typeof limits> = {}): string => {
    try {
      checkInput(value, { ...limits, ...change }, (slot) => (slot === 0 ? 3 : undefined));
      return "ok";
    } catch (error) {
      return (error as { code: string }).code;
    }
  };

  it("passes what fits", () => {
    expect(codeOf(input([run(0, 1, 3)]))).toBe("ok");
    expect(codeOf(input([run(0, 2, 3)], 2, 4), { outputRowsOnly: true })).toBe("ok");
    expect(codeOf(input([run(0, 1, 3)], 1, null), { wantsHidden: false })).toBe("ok");
  });

  it("names each thing that does not fit", () => {
    expect(codeOf(input([run(1, 1, 3)]))).toBe("SESSION_NOT_FOUND");
    expect(codeOf(input([run(9, 1, 3)]))).toBe("SESSION_NOT_FOUND");
    expect(codeOf(input([run(0, 1, 4)]))).toBe("STEP_OUT_OF_ORDER");
    expect(codeOf(input([run(0, 14, 3)], 14, 56))).toBe("CONTEXT_EXCEEDED");
    expect(codeOf(input([run(0, 9, 3)], 9, 36))).toBe("FRAME_INVALID");
    expect(codeOf(input([run(0, 0, 3)], 0, 0))).toBe("FRAME_INVALID");
    expect(codeOf(input([]))).toBe("FRAME_INVALID");
    expect(codeOf(input([run(0, 1, 3), run(0, 1, 3)], 2, 8))).toBe("FRAME_INVALID");
    expect(codeOf(input([run(0, 1, 3)], 2))).toBe("FRAME_INVALID");
    expect(codeOf(input([run(0, 1, 3)], 1, 5))).toBe("FRAME_INVALID");
    expect(codeOf(input([run(0, 1, 3)], 1, null))).toBe("FRAME_INVALID");
    const all = input([{ ...run(0, 3, 3), output: "all" }], 3, 12);
    expect(codeOf(all, { maxOutputs: 3 })).toBe("ok");
    expect(codeOf(all, { maxOutputs: 2 })).toBe("FRAME_INVALID");
    expect(codeOf(input([run(0, 1, 3)]), { wantsHidden: false })).toBe("FRAME_INVALID");
  });
});

describe("findNonFinite", () => {
  it("finds NaN and both infinities, and nothing else", () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      expect(findNonFinite(Float32Array.of(0, -1e38, value))).toBe(2);
    expect(findNonFinite(Float32Array.of(0, -0, 3.4e38, -3.4e38, 1e-45))).toBe(-1);
  });
});

describe("mixSeed", () => {
  it("gives 32-bit seeds that differ from position to position, and never the library's sign for a random one", () => {
    const seeds = Array.from({ length: 2000 }, (_, position) => mixSeed(5, position));
    expect(new Set(seeds).size).toBe(2000);
    for (const seed of seeds) expect(seed >= 0 && seed < 0xffffffff && Number.isInteger(seed)).toBe(true);
  });
});
