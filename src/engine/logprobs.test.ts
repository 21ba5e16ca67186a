import { describe, expect, it } from "vitest";
import { readLogprobs } from "./logprobs.ts";

describe("readLogprobs", () => {
  it("gives the log-softmax of a token and of the likeliest, best first", () => {
    const logits = Float32Array.of(1, 3, -2, 3, 0);
    const sum = logits.reduce((total, value) => total + Math.exp(value), 0);
    const expected = (id: number): number => Math.log(Math.exp(logits[id] ?? 0) / sum);
    const { logprob, top } = readLogprobs(logits, 4, 3);
    expect(logprob).toBeCloseTo(expected(4), 12);
    expect(top.map(({ tokenId }) => tokenId)).toEqual([1, 3, 0]);
    for (const { tokenId, logprob: value } of top) expect(value).toBeCloseTo(expected(tokenId), 12);
    expect(readLogprobs(logits, 2, 0).top).toEqual([]);
  });

  it("picks what sorting everything would pick", () => {
    let state = 7;
    const logits = Float32Array.from({ length: 5000 }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.round(state / 2 ** 22) / 8; // many equal values
    });
    const sorted = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
    expect(readLogprobs(logits, 0, 100).top.map(({ tokenId }) => tokenId)).toEqual(sorted.slice(0, 100));
  });

  it("does not lose precision far below the best, nor with large logits", () => {
    const logits = new Float32Array(100_000).fill(1e4 - 30);
    logits[5] = 1e4;
    const rest = 99_999 * Math.exp(-30);
    expect(readLogprobs(logits, 5, 0).logprob / -Math.log1p(rest)).toBeCloseTo(1, 2);
    expect(readLogprobs(logits, 6, 1)).toMatchObject({ top: [{ tokenId: 5 }] });
    expect(readLogprobs(logits, 6, 1).logprob).toBeCloseTo(-30 - Math.log1p(rest), 9);
  });

  it("has room for more alternatives than there are tokens", () => {
    expect(readLogprobs(Float32Array.of(1, 2), 0, 50).top).toHaveLength(2);
  });
});
