import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ERROR_CODES } from "../../src/common/index.ts";

const text = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
const rows = new Map(
  [...text.matchAll(/^\| `([A-Z_]+)` \|(.+)\|$/gm)].map((match) => {
    const cells = (match[2] ?? "").split("|").map((cell) => cell.trim());
    return [match[1] ?? "", cells] as const;
  }),
);

describe("docs/errors.md", () => {
  test.each(Object.entries(ERROR_CODES))("has the row of %s as the table in the code has it", (code, row) => {
    const [exit, http, grpc, again, happened, cure] = rows.get(code) ?? [];
    expect({ exit, http, grpc, again, cure }).toEqual({
      exit: String(row.exit),
      http: String(row.http),
      grpc: row.grpc,
      again: row.retryable ? "yes" : "no",
      cure: row.cure,
    });
    expect(happened).not.toBe("");
  });

  test("documents no code that does not exist, and none twice", () => {
    expect([...rows.keys()].sort()).toEqual(Object.keys(ERROR_CODES).sort());
    expect(text.match(/^\| `[A-Z_]+` \|/gm)).toHaveLength(rows.size);
  });
});
