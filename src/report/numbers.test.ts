import { describe, expect, test } from "vitest";
import { formatBytes, formatDuration, formatMs, formatNumber, formatPercent, joinWords } from "./numbers.ts";

describe("numbers in words", () => {
  test.each([
    [0, "0"],
    [0.001234, "0.00123"],
    [0.5, "0.500"],
    [9.999, "10.0"],
    [12.345, "12.3"],
    [123.4, "123"],
    [999.7, "1,000"],
    [12_345, "12,300"],
    [1_234_567, "1,230,000"],
    [-4.5678, "-4.57"],
    [Number.NaN, "-"],
  ])("%d has three significant digits: %s", (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });

  test("a time of a second and more is told in seconds", () => {
    expect([formatMs(0.0123), formatMs(999), formatMs(1234)]).toEqual(["0.0123 ms", "999 ms", "1.23 s"]);
  });

  test("a share that is not nothing never reads as nothing", () => {
    expect([formatPercent(0), formatPercent(0.0004), formatPercent(0.0512), formatPercent(0.5)]).toEqual([
      "0.0%",
      "<0.1%",
      "5.1%",
      "50%",
    ]);
  });

  test("bytes, durations and lists have their units and words", () => {
    expect(formatBytes(1536)).toBe("1.50 KiB");
    expect(formatDuration(15_120)).toBe("4 h 12 min");
    expect(formatDuration(7199)).toBe("2 h 0 min");
    expect(joinWords(["a", "b", "c"])).toBe("a, b and c");
  });
});
