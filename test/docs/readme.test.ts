import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { must } from "../../src/common/index.ts";
import { collectHost } from "../../src/cli/host.ts";
import { buildProgram } from "../../src/cli/program.ts";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
const blocks = (language: string): readonly string[] =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map((match) => match[1] ?? "");

describe("README.md", () => {
  test("shows the examples that CI runs", () => {
    const examples = ["attention-times", "library-in-twenty-lines"].map((name) => {
      const example = readFileSync(new URL(`../../examples/${name}.ts`, import.meta.url), "utf8");
      return example.slice(example.indexOf("\n") + 1);
    });
    expect(blocks("ts")).toEqual(examples);
  });

  test("gives command lines that the commands take", async () => {
    const lines = blocks("sh").flatMap((block) => block.split("\n").filter((line) => line.startsWith("npx noodle ")));
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) {
      const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? "");
      const program = await buildProgram(collectHost());
      const command = must(
        program.commands.find((candidate) => candidate.name() === words[2]),
        line,
      );
      expect({ line, unknown: command.parseOptions(words.slice(3)).unknown }).toEqual({ line, unknown: [] });
    }
  });

  test("names a test that exists for each guarantee but those that it calls measured", () => {
    const table = must(/<!-- guarantees -->([\s\S]*?)<!-- \/guarantees -->/.exec(readme)?.[1], "table of guarantees");
    const rows = [...table.matchAll(/^\| (G\d+) \|.*\|([^|]*)\|$/gm)];
    expect(rows.map((row) => row[1])).toEqual(Array.from({ length: 10 }, (_, index) => `G${index + 1}`));
    for (const [whole, name, tests = ""] of rows) {
      const paths = [...tests.matchAll(/\]\(([^)]+)\)/g)].map((match) => match[1] ?? "");
      if (paths.length === 0) expect(whole, name).toContain("no test holds it");
      for (const path of paths) {
        expect(path).toMatch(/\.test\.ts$/);
        expect(existsSync(new URL(`../../${path}`, import.meta.url)), path).toBe(true);
      }
    }
  });

  test("names npm scripts that exist", () => {
    const { scripts } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
      scripts: Record<string, string>;
    };
    const prose = [readme, readFileSync(new URL("../../CONTRIBUTING.md", import.meta.url), "utf8")].join("\n");
    for (const [, name] of prose.matchAll(/npm run ([\w:]+)/g)) expect(scripts).toHaveProperty([name ?? ""]);
  });
});
