import { expect, test } from "vitest";
import { mergeMetrics } from "./merge-metrics.ts";

const source = (text: string) => ({ contentType: "text/plain", render: async () => text });

test("a family comes once, and every sample says whose it is", async () => {
  const merged = mergeMetrics("model_id", [
    {
      name: "a",
      source: source('# HELP n Count.\n# TYPE n counter\nn{k="v"} 1\n\n# HELP m M.\n# TYPE m gauge\nm 2\n'),
    },
    { name: 'b"', source: source('# HELP n Count.\n# TYPE n counter\nn{k="v"} 3\nn{k="}"} 4\n') },
  ]);
  expect(await merged.render()).toBe(
    [
      "# HELP n Count.",
      "# TYPE n counter",
      'n{model_id="a",k="v"} 1',
      'n{model_id="b\\"",k="v"} 3',
      'n{model_id="b\\"",k="}"} 4',
      "# HELP m M.",
      "# TYPE m gauge",
      'm{model_id="a"} 2',
      "",
    ].join("\n"),
  );
});
