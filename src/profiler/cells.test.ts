import { describe, expect, it } from "vitest";
import { orderCells } from "./cells.ts";

const GRID = { prefillRows: [16, 64, 256], decodeRows: [1, 2, 4, 8, 16], contexts: [0, 512, 2048] };

describe("orderCells", () => {
  it("lists every cell of the grid once", () => {
    const keys = orderCells(GRID).map(({ phase, rows, context }) => `${phase} ${rows} ${context}`);
    expect(keys).toHaveLength(8 * 3);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it("begins with one decoded row and the largest prefill, and has both ends of each axis before what lies between", () => {
    const order = orderCells(GRID);
    expect(order.slice(0, 2)).toEqual([
      { phase: "decode", rows: 1, context: 0 },
      { phase: "prefill", rows: 256, context: 0 },
    ]);
    const place = (phase: string, rows: number, context: number): number =>
      order.findIndex((cell) => cell.phase === phase && cell.rows === rows && cell.context === context);
    expect(place("decode", 1, 2048)).toBeLessThan(place("decode", 1, 512));
    expect(place("decode", 16, 0)).toBeLessThan(place("decode", 4, 0));
    expect(place("decode", 4, 0)).toBeLessThan(place("decode", 4, 512));
    expect(place("prefill", 16, 0)).toBeLessThan(place("prefill", 64, 512));
  });

  it("takes a grid without one of the phases, in any order and with repetitions", () => {
    expect(orderCells({ prefillRows: [], decodeRows: [2, 1, 2], contexts: [0] })).toEqual([
      { phase: "decode", rows: 1, context: 0 },
      { phase: "decode", rows: 2, context: 0 },
    ]);
  });
});
