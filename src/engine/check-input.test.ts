import { describe, expect, it } from "vitest";
import { checkInput, type InputLimits } from "./check-input.ts";
import type { RowRun, StageInput } from "./types.ts";

const run = (slot: number, rows: number, position = 0): RowRun => ({ slot, rows, position, output: "last" });

describe("checkInput", () => {
  const limits: InputLimits = {
    parallel: 3,
    contextTokens: 16,
    maxRows: 8,
    nEmbd: 4,
    wantsHidden: true,
    outputRowsOnly: false,
  };
  const input = (runs: RowRun[], tokens = 1, hidden: number | null = 4, pads: number[] = []): StageInput => ({
    runs,
    tokens: new Int32Array(tokens),
    hidden: hidden === null ? null : new Float32Array(hidden),
    pads,
  });
  const codeOf = (value: StageInput, change: Partial<InputLimits> = {}): string => {
    try {
      // Slot 0 is open and holds 3 positions, slot 2 is closed and keeps as many as a context has.
      checkInput(
        value,
        { ...limits, ...change },
        { next: (slot) => (slot === 0 ? 3 : undefined), held: (slot) => [3, 0, 16][slot] ?? 0 },
      );
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
    expect(codeOf(input([run(0, 1, 3)]), { wantsHidden: false })).toBe("FRAME_INVALID");
  });

  it("takes dummy rows only where there is a free slot with room, and rows left", () => {
    const padded = (...pads: number[]): StageInput => input([run(0, 1, 3)], 1, 4, pads);
    expect(codeOf(padded(1))).toBe("ok");
    for (const pads of [[0], [1, 1], [3], [-1], [0.5], [Number.NaN], [2]])
      expect(codeOf(padded(...pads))).toBe("FRAME_INVALID");
    expect(codeOf(padded(1), { maxRows: 1 })).toBe("FRAME_INVALID");
  });

  it("takes only tokens of the vocabulary where their probability is read", () => {
    const scored = (change: Partial<RowRun>, token = 7): StageInput => ({
      ...input([{ ...run(0, 1, 3), topLogprobs: 2, ...change }]),
      tokens: Int32Array.of(token),
    });
    const code = (value: StageInput): string => codeOf(value, { nVocab: 8 });
    expect(code(scored({ following: 7 }))).toBe("ok");
    expect(code(scored({ following: 8 }))).toBe("FRAME_INVALID");
    expect(code(scored({ following: -1, topLogprobs: null }))).toBe("FRAME_INVALID");
    expect(code(scored({}, 8))).toBe("FRAME_INVALID");
    expect(code(scored({ topLogprobs: null }, 8))).toBe("ok");
    for (const topLogprobs of [-1, 101, 0.5]) expect(code(scored({ topLogprobs }))).toBe("FRAME_INVALID");
  });
});
