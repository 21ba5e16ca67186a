import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { LAYERS } from "../../scripts/layers.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

describe("docs/architecture.md", () => {
  const text = readFileSync(join(root, "docs/architecture.md"), "utf8");
  const folders = [...text.matchAll(/^\| `([a-z/-]+)\/` \|/gm)].map((match) => match[1] ?? "");

  test.each(folders)("names a folder that exists: %s", (folder) => {
    expect(existsSync(join(root, folder))).toBe(true);
  });

  test("names every module of the layer table", () => {
    expect(folders.filter((folder) => folder.startsWith("src/")).sort()).toEqual(Object.keys(LAYERS).sort());
  });
});

test("relative links of the documentation lead somewhere", () => {
  const pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].concat(
    readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md"))
      .map((name) => join("docs", name)),
  );
  const broken = pages.flatMap((page) => {
    const links = [...readFileSync(join(root, page), "utf8").matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)];
    return links
      .map((link) => link[1] ?? "")
      .filter((target) => !existsSync(join(root, dirname(page), target)))
      .map((target) => `${page}: ${target}`);
  });
  expect(broken).toEqual([]);
});
