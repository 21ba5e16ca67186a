import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { countWork, type WorkCell } from "./count-work.ts";
import type { UnitWork } from "./model-work.ts";
import { simulateWork } from "./testing.ts";

const decode = (rows: number, context: number): WorkCell => ({ phase: "decode", rows, context, outputRows: rows });
const prefill = (rows: number, context: number): WorkCell => ({ phase: "prefill", rows, context, outputRows: 1 });

// 4 heads of 8 over 2 heads of keys and values, 32 wide, F16.
const llama = simulateWork({
  architecture: "llama",
  layers: 3,
  embd: 32,
  heads: 4,
  kvHeads: 2,
  ff: 64,
  vocab: 512,
  tied: false,
  type: "f16",
});
const unit = (work: { units: readonly UnitWork[] }, index: number): UnitWork => must(work.units.at(index), "unit");

describe("countWork", () => {
  it("multiplies and adds once for each element of a matrix and row", () => {
    const matrices = 32 * 32 + 2 * 32 * 16 + 32 * 32;
    expect(countWork(unit(llama, 1), "attention.qkv", decode(1, 0)).flops).toBe(2 * (32 * 32 + 2 * 32 * 16));
    expect(countWork(unit(llama, 1), "attention.output", decode(5, 9)).flops).toBe(5 * 2 * 32 * 32);
    expect(countWork(unit(llama, 1), "attention", decode(1, 0)).weightsBytes).toBe(2 * matrices);
    expect(countWork(unit(llama, 1), "mlp.down", prefill(7, 0)).flops).toBe(7 * 2 * 64 * 32);
  });

  it("reads keys and values of every position that a decoded row sees, for each sequence", () => {
    const { flops, kvBytesMoved } = countWork(unit(llama, 1), "attention.scores", decode(3, 99));
    expect(kvBytesMoved).toBe(3 * 100 * 2 * (8 + 8) * 2);
    expect(flops).toBe(3 * 100 * 4 * 2 * (8 + 8));
  });

  it("lets a prompt's rows see each other up to themselves, and reads the positions once", () => {
    const { flops, kvBytesMoved } = countWork(unit(llama, 1), "attention.scores", prefill(4, 10));
    expect(flops).toBe((11 + 12 + 13 + 14) * 4 * 2 * (8 + 8));
    expect(kvBytesMoved).toBe(14 * 2 * (8 + 8) * 2);
  });

  it("sees no further than a window", () => {
    const sliding = simulateWork({ architecture: "gemma3", layers: 2, slidingWindow: 8, vocab: 512 });
    const first = unit(sliding, 1);
    const perPair = countWork(first, "attention.scores", decode(1, 0)).flops;
    expect(countWork(first, "attention.scores", decode(1, 500)).flops).toBe(8 * perPair);
    expect(countWork(first, "attention.scores", prefill(4, 6)).flops).toBe((7 + 8 + 8 + 8) * perPair);
  });

  it("looks rows of the embedding up instead of reading the table", () => {
    const { flops, weightBytesMoved, weightsBytes } = countWork(unit(llama, 0), "total", decode(3, 0));
    expect(weightsBytes).toBe(512 * 32 * 2);
    expect(weightBytesMoved).toBe(3 * 32 * 2);
    expect(flops).toBe(3 * 32);
  });

  it("computes logits of the output rows only", () => {
    expect(countWork(unit(llama, -1), "head", prefill(64, 0)).flops).toBe(2 * 32 * 512);
    expect(countWork(unit(llama, -1), "head", decode(4, 0)).activationBytesOut).toBe(4 * 512 * 4);
  });

  it("drops rows behind the last block's attention", () => {
    const [inner, last] = [unit(llama, 1), unit(llama, -2)];
    const of = (block: UnitWork, role: "mlp" | "attention") => countWork(block, role, prefill(16, 0)).flops;
    expect(of(last, "attention")).toBe(of(inner, "attention"));
    expect(of(inner, "mlp")).toBe(16 * of(last, "mlp"));
    expect(countWork(last, "total", decode(4, 7)).flops).toBe(countWork(inner, "total", decode(4, 7)).flops);
  });

  it("reads the experts that some row meets, and computes those that each row uses", () => {
    const moe = unit(simulateWork({ architecture: "llama", layers: 2, experts: 8, vocab: 512, type: "f16" }), 1);
    const expertBytes = moe.tensors.filter(({ use }) => use === "experts").reduce((sum, { bytes }) => sum + bytes, 0);
    const of = (rows: number) => countWork(moe, "moe.experts", decode(rows, 0));
    expect(of(1).weightBytesMoved).toBeCloseTo((expertBytes * 2) / 8);
    expect(of(2).weightBytesMoved).toBeCloseTo(expertBytes * (1 - 0.75 ** 2));
    expect(of(200).weightBytesMoved).toBeCloseTo(expertBytes);
    expect(of(3).flops).toBe(3 * of(1).flops);
  });

  it("makes a unit's flops of its roles'", () => {
    const roles = ["norm", "attention", "mlp", "residual"] as const;
    for (const cell of [decode(1, 100), decode(4, 0), prefill(32, 64)]) {
      const parts = roles.reduce((sum, role) => sum + countWork(unit(llama, 2), role, cell).flops, 0);
      expect(countWork(unit(llama, 2), "total", cell).flops).toBe(parts);
    }
  });

  it("needs more memory with more sequences and more context", () => {
    const of = (cell: WorkCell) => countWork(unit(llama, 1), "total", cell).peakBytes;
    const kvBytes = 2 * (8 + 8) * 2;
    expect(of(decode(1, 100)) - of(decode(1, 0))).toBe(100 * kvBytes);
    expect(of(decode(2, 100)) - of(decode(1, 100))).toBeGreaterThanOrEqual(101 * kvBytes);
    expect(of(decode(1, 0))).toBeGreaterThan(countWork(unit(llama, 1), "total", decode(1, 0)).weightsBytes);
  });

  it("moves nothing for a role that the unit does not have", () => {
    expect(countWork(unit(llama, -1), "mlp", decode(1, 0))).toMatchObject({ flops: 0, bytesMoved: 0, peakBytes: 0 });
  });
});
