import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { collectHost } from "./host.ts";
import { buildProgram, runCli } from "./program.ts";

const names = (await buildProgram(collectHost())).commands.map((command: Command) => command.name());

describe.each(names)("noodle %s", (name) => {
  test("--help shows a summary, --json and an example that begins with its own name", async () => {
    const host = collectHost();
    expect(await runCli([name, "--help"], host)).toBe(0);
    expect(host.written.stdout).toContain("--json");
    expect(host.written.stdout).toMatch(new RegExp(`Examples?:\n( {2}\\$ .*\n)* {2}\\$ (npx )?noodle ${name}\\b`));
    expect(host.written.stderr).toBe("");
  });

  test("an unknown option is wrong usage", async () => {
    const host = collectHost();
    expect(await runCli([name, "--no-such-option"], host)).toBe(2);
    expect(host.written.stdout).toBe("");
    expect(host.written.stderr).toContain("USAGE");
  });
});

test("the examples parse: each uses options and arguments that its command has", async () => {
  const program = await buildProgram(collectHost());
  for (const command of program.commands) {
    for (const line of readExamples(command)) {
      const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? "");
      const args = words.slice(words.indexOf("noodle") + 2).filter((word) => word !== "&");
      const parsed = command.exitOverride().parseOptions(args);
      expect({ line, unknown: parsed.unknown }).toEqual({ line, unknown: [] });
      expect(parsed.operands.length).toBeGreaterThanOrEqual(
        command.registeredArguments.filter((a) => a.required).length,
      );
      const isOpen = command.registeredArguments.some((a) => a.variadic);
      expect(parsed.operands.length).toBeLessThanOrEqual(isOpen ? Infinity : command.registeredArguments.length);
    }
  }
});

function readExamples(command: Command): readonly string[] {
  let text = "";
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
  });
  command.outputHelp();
  return [...text.matchAll(/^ {2}\$ (.*\bnoodle .*)$/gm)].map((match) => match[1] ?? "");
}

describe("noodle", () => {
  test("--version prints the version of the package", async () => {
    const host = collectHost();
    expect(await runCli(["--version"], host)).toBe(0);
    expect(host.written.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test("an unknown command is wrong usage, said as a document with --json", async () => {
    const host = collectHost();
    expect(await runCli(["frobnicate", "--json"], host)).toBe(2);
    expect(JSON.parse(host.written.stdout)).toMatchObject({ schema: "noodle.error.v1", code: "USAGE" });
  });

  test("no command at all is wrong usage and shows the help", async () => {
    const host = collectHost();
    expect(await runCli([], host)).toBe(2);
    expect(host.written.stderr).toContain("Commands:");
  });
});
