import { expect, it } from "vitest";
import { Random } from "./random.ts";

/** Computed apart from this code, by the generator's published definition. */
const GOLDEN = [2_657_035_969, 1_204_172_162, 3_260_351_643];

it("gives the same numbers for the same seed and label on every machine", () => {
  const random = new Random(42, "blk.0.attn_q.weight");
  expect([random.nextUint32(), random.nextUint32(), random.nextUint32()]).toEqual(GOLDEN);
});

it("fills words with what single draws would give", () => {
  const words = new Uint32Array(5);
  const filled = new Random(7, "x");
  filled.fillWords(words);
  const single = new Random(7, "x");
  expect([...words]).toEqual(Array.from({ length: 5 }, () => single.nextUint32()));
  expect(filled.nextUint32()).toBe(single.nextUint32());
});

it("gives other numbers for another seed, also beyond 32 bits, and for another label", () => {
  const first = (seed: number, label: string) => new Random(seed, label).nextUint32();
  expect(new Set([first(1, "a"), first(2, "a"), first(1 + 2 ** 32, "a"), first(1, "b")]).size).toBe(4);
});

it("draws about normal numbers of mean 0 and variance 1", () => {
  const random = new Random(3, "normal");
  const draws = Array.from({ length: 20_000 }, () => random.nextNormal());
  const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
  const variance = draws.reduce((sum, draw) => sum + (draw - mean) ** 2, 0) / draws.length;
  expect(Math.abs(mean)).toBeLessThan(0.02);
  expect(Math.abs(variance - 1)).toBeLessThan(0.03);
});
