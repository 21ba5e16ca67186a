import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { must } from "../../src/common/index.ts";
import { collectHost } from "../../src/cli/host.ts";
import { buildProgram } from "../../src/cli/program.ts";

const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
const blocks = (language: string): readonly string[] =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map((match) => match[1] ?? "");

describe("README.md", () => {
  test("shows the example that CI runs", () => {
    const example = readFileSync(new URL("../../examples/library-in-twenty-lines.ts", import.meta.url), "utf8");
    expect(blocks("ts")).toEqual([example.slice(example.indexOf("\n") + 1)]);
  });

  test("gives command lines that the commands take", () => {
    const lines = blocks("sh").flatMap((block) => block.split("\n").filter((line) => line.startsWith("npx noodle ")));
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) {
      const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? "");
      const program = buildProgram(collectHost());
      const command = must(
        program.commands.find((candidate) => candidate.name() === words[2]),
        line,
      );
      expect({ line, unknown: command.parseOptions(words.slice(3)).unknown }).toEqual({ line, unknown: [] });
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
