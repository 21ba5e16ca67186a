import { expect, test } from "vitest";
import { toHrTime } from "./wall-clock.ts";

test.each([
  ["the moment itself", 5_000_000, [1_700_000_000, 250_000_000]],
  ["later, across a second", 5_000_000 + 800_000_001, [1_700_000_001, 50_000_001]],
  ["before, across a second", 5_000_000 - 300_000_001, [1_699_999_999, 949_999_999]],
])("%s is told to the nanosecond", (_, monoNs, wanted) => {
  expect(toHrTime({ unixMs: 1_700_000_000_250, monoNs: 5_000_000 }, monoNs)).toEqual(wanted);
});
