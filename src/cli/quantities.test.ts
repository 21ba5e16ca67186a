import { describe, expect, test } from "vitest";
import {
  formatBytes,
  formatCount,
  formatMs,
  parseDecimal,
  parseDurationMs,
  parseInteger,
  parseIntegers,
  parseSizeBytes,
} from "./quantities.ts";

const usage = expect.objectContaining({ code: "USAGE" });

describe("parseSizeBytes", () => {
  test.each([
    ["8GiB", 8 * 2 ** 30],
    ["500MB", 5e8],
    ["1.5g", 1.5 * 2 ** 30],
    ["1024", 1024],
    ["3 kib", 3072],
    ["2TB", 2e12],
  ])("reads %s", (text, bytes) => {
    expect(parseSizeBytes(text, "--memory")).toBe(bytes);
  });

  test.each(["", "lots", "-1GiB", "0", "8GiBs", "1e9", "99999999TiB"])("refuses %j", (text) => {
    expect(() => parseSizeBytes(text, "--memory")).toThrow(usage);
  });
});

describe("parseDurationMs", () => {
  test.each([
    ["60s", 60_000],
    ["500ms", 500],
    ["2.5m", 150_000],
    ["3", 3000],
  ])("reads %s", (text, ms) => {
    expect(parseDurationMs(text, "--budget")).toBe(ms);
  });

  test.each(["", "soon", "-1s", "0s", "1d", "1e3s"])("refuses %j", (text) => {
    expect(() => parseDurationMs(text, "--budget")).toThrow(usage);
  });
});

describe("numbers", () => {
  test("lists of whole numbers are read one by one", () => {
    expect(parseIntegers("16,64, 256", "--prefill", 1)).toEqual([16, 64, 256]);
    for (const text of ["", "1,", "1;2", "1,0"]) expect(() => parseIntegers(text, "--prefill", 1)).toThrow(usage);
  });

  test("whole numbers are read within their limits", () => {
    expect(parseInteger("8", "-n", 1)).toBe(8);
    expect(parseInteger("-3", "--seed", -5, 5)).toBe(-3);
  });

  test.each(["", "1.5", "x", "0", "0x10", "1e3", "9007199254740993"])("%j is no whole number of at least 1", (text) => {
    expect(() => parseInteger(text, "-n", 1)).toThrow(usage);
  });

  test("decimals are read within their limits", () => {
    expect(parseDecimal("0.7", "--temperature", 0, 5)).toBe(0.7);
  });

  test.each(["", "hot", "NaN", "Infinity", "5.1", "-0.1"])("%j is no decimal from 0 to 5", (text) => {
    expect(() => parseDecimal(text, "--temperature", 0, 5)).toThrow(usage);
  });
});

test("quantities are written for people", () => {
  expect(formatBytes(0)).toBe("0 B");
  expect(formatBytes(1536)).toBe("1.50 KiB");
  expect(formatBytes(12.25 * 2 ** 20)).toBe("12.3 MiB");
  expect(formatCount(999)).toBe("999");
  expect(formatCount(6_200_000)).toBe("6.2 M");
  expect(formatCount(1_240_000_000)).toBe("1.24 G");
  expect(formatMs(null)).toBe("-");
  expect(formatMs(0.1234)).toBe("0.123");
  expect(formatMs(12.34)).toBe("12.3");
});
