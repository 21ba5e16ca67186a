import { describe, expect, test } from "vitest";
import { parseExposition } from "./testing.ts";

const HEAD = "# HELP a_seconds Time.\n# TYPE a_seconds";

describe("the strict reader of the text format", () => {
  test("reads labels with escapes, infinity, and families without samples", () => {
    const families = parseExposition(
      `${HEAD} gauge\na_seconds{x="q\\"b\\\\n\\n",y=""} 1.5\n\n# HELP b_total B.\n# TYPE b_total counter\n`,
    );
    expect(families.get("a_seconds")?.samples).toEqual([
      { name: "a_seconds", labels: { x: 'q"b\\n\n', y: "" }, value: 1.5 },
    ]);
    expect(families.get("b_total")).toEqual({ name: "b_total", help: "B.", type: "counter", samples: [] });
  });

  test.each([
    ["no end of line", "has no end", `${HEAD} gauge\na_seconds 1`],
    ["a type without help", "without HELP", "# TYPE a gauge\na 1\n"],
    ["an unknown type", "of no type", `${HEAD} meter\n`],
    ["a family twice", "a family twice", `${HEAD} gauge\n${HEAD} gauge\n`],
    ["a sample of another family", "outside its family", `${HEAD} gauge\nb_seconds 1\n`],
    ["a histogram's suffix on a gauge", "outside its family", `${HEAD} gauge\na_seconds_sum 1\n`],
    ["a series twice", "series twice", `${HEAD} gauge\na_seconds 1\na_seconds 2\n`],
    ["no number", "no number", `${HEAD} gauge\na_seconds Nan\n`],
    ["a bad label", "no labels", `${HEAD} gauge\na_seconds{x=1} 1\n`],
    [
      "buckets that fall",
      "out of order",
      `${HEAD} histogram\na_seconds_bucket{le="1"} 2\na_seconds_bucket{le="+Inf"} 1\n`,
    ],
    [
      "buckets out of order",
      "out of order",
      `${HEAD} histogram\na_seconds_bucket{le="2"} 1\na_seconds_bucket{le="1"} 1\n`,
    ],
    [
      "a count beside the last bucket",
      "not that of the last bucket",
      `${HEAD} histogram\na_seconds_bucket{le="+Inf"} 1\na_seconds_count 2\n`,
    ],
  ])("refuses %s", (_, words, text) => {
    expect(() => parseExposition(text)).toThrow(words);
  });
});
