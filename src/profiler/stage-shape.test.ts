import { describe, expect, it } from "vitest";
import { orderCells } from "./cells.ts";
import { chooseShape } from "./stage-shape.ts";

const CELLS = orderCells({ prefillRows: [16, 256], decodeRows: [1, 16], contexts: [0, 512, 2048] });
const ROOMY = { contextLength: 8192, kvBytesPerToken: 1024, kvLimitBytes: 2 ** 40 };

describe("chooseShape", () => {
  it("opens the stage for the longest context and the most sequences when memory allows", () => {
    const choice = chooseShape(CELLS, ROOMY);
    expect(choice.shape).toEqual({ contextTokens: 2304, parallel: 16, maxRows: 256 });
    expect(choice.cells).toEqual(CELLS);
    expect(choice.skipped).toEqual([]);
  });

  it("skips what the model's context cannot hold, and opens the stage no longer than that", () => {
    const { shape, cells, skipped } = chooseShape(CELLS, { ...ROOMY, contextLength: 700 });
    expect(shape?.contextTokens).toBe(700);
    expect(skipped.map(({ phase, rows, context }) => `${phase} ${rows} ${context}`).toSorted()).toEqual([
      "decode 1 2048",
      "decode 16 2048",
      "prefill 16 2048",
      "prefill 256 2048",
      "prefill 256 512",
    ]);
    expect(cells).toHaveLength(CELLS.length - skipped.length);
    for (const { reason } of skipped) expect(reason).toContain("700");
  });

  it("gives up unimportant cells first where KV does not fit, and never exceeds the limit", () => {
    for (let tokens = 256; tokens <= 2560 * 16; tokens += 512) {
      const limits = { ...ROOMY, kvLimitBytes: tokens * 1024 };
      const { shape, cells, skipped } = chooseShape(CELLS, limits);
      expect(cells[0]).toEqual({ phase: "decode", rows: 1, context: 0 });
      if (shape === null) throw new Error("a cell fits");
      expect(Math.ceil(shape.contextTokens / 256) * 256 * shape.parallel * 1024).toBeLessThanOrEqual(
        limits.kvLimitBytes,
      );
      for (const cell of cells) {
        expect(shape.maxRows).toBeGreaterThanOrEqual(cell.rows);
        expect(shape.contextTokens).toBeGreaterThanOrEqual(cell.context + (cell.phase === "decode" ? 1 : cell.rows));
      }
      expect(cells.length + skipped.length).toBe(CELLS.length);
    }
  });

  it("has no shape when nothing fits", () => {
    const { shape, cells, skipped } = chooseShape(CELLS, { ...ROOMY, kvLimitBytes: 1000 });
    expect(shape).toBeNull();
    expect(cells).toEqual([]);
    expect(skipped).toHaveLength(CELLS.length);
  });

  it("does not ask for KV of a stage without blocks", () => {
    expect(chooseShape(CELLS, { ...ROOMY, kvBytesPerToken: 0, kvLimitBytes: 0 }).cells).toEqual(CELLS);
  });
});
