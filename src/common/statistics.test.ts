import { expect, test } from "vitest";
import { median, quantile, sum } from "./statistics.ts";

test("a quantile lies between its neighbours, whatever the order", () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(quantile([4, 1, 3, 2], 1)).toBe(4);
  expect(median([5, 1, 3])).toBe(3);
  expect([quantile([], 0.5), median([]), sum([])]).toEqual([0, 0, 0]);
  expect(sum([1, 2, 3])).toBe(6);
});
