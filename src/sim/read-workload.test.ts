import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { NoodleError } from "../common/index.ts";
import { WORKLOAD_LIMITS, WorkloadReader } from "./read-workload.ts";

const LINE = '{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47, 2353]}';

function read(text: string, chunk = text.length) {
  const reader = new WorkloadReader();
  for (let at = 0; at < text.length; at += chunk) reader.push(text.slice(at, at + chunk));
  return { reader, workload: reader.finish() };
}

describe("WorkloadReader", () => {
  it("reads a line of a Mooncake trace", () => {
    expect(read(`${LINE}\n`).workload).toEqual({
      loop: "open",
      requests: [{ atMs: 27482, promptTokens: 6955, genTokens: 52, client: "trace", blocks: [46, 47, 2353] }],
    });
  });

  it("leaves out what it cannot read, by its number, and loses nothing else, however the text comes in", () => {
    const bad = [
      "{",
      "[]",
      "null",
      '{"timestamp": -1, "input_length": 1, "output_length": 1}',
      '{"timestamp": 1, "input_length": 0, "output_length": 1}',
      '{"timestamp": 1, "input_length": 1, "output_length": 1.5}',
      '{"timestamp": 1, "input_length": 1}',
      '{"timestamp": "1", "input_length": 1, "output_length": 1}',
    ];
    const text = [LINE, ...bad, "", LINE].join("\r\n");
    const property = fc.property(fc.integer({ min: 1, max: 200 }), (chunk) => {
      const { reader, workload } = read(text, chunk);
      expect(workload.requests).toHaveLength(2);
      expect(reader.malformed.map(({ line }) => line)).toEqual(bad.map((_, index) => index + 2));
      expect(reader.malformedCount).toBe(bad.length);
    });
    fc.assert(property, { seed: 20261123, numRuns: 60 });
  });

  it("holds no more than one line, and goes on behind one that is too long", () => {
    const reader = new WorkloadReader();
    for (let i = 0; i < 40; i++) reader.push("x".repeat(WORKLOAD_LIMITS.lineChars / 10));
    reader.push(`\n${LINE}`);
    expect(reader.finish().requests).toHaveLength(1);
    expect(reader.malformed).toMatchObject([{ line: 1 }]);
  });

  it("puts requests into the order of their times", () => {
    const lines = [30, 10, 20].map((at) => `{"timestamp": ${at}, "input_length": ${at}, "output_length": 1}`);
    expect(read(lines.join("\n")).workload.requests.map(({ promptTokens }) => promptTokens)).toEqual([10, 20, 30]);
  });

  it("refuses a file without a request", () => {
    for (const text of ["", "\n\n", "x\ny"]) {
      const reader = new WorkloadReader();
      reader.push(text);
      expect(() => reader.finish()).toThrow(expect.objectContaining({ code: "WORKLOAD_INVALID" }) as NoodleError);
    }
  });
});
