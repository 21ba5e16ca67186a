import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { renderCommandDocs } from "../../scripts/command-docs.ts";

test("docs/commands.md says what the commands say (npm run docs)", async () => {
  expect(readFileSync(new URL("../../docs/commands.md", import.meta.url), "utf8")).toBe(await renderCommandDocs());
});
