import type { Command } from "commander";
import { collectHost } from "../src/cli/host.ts";
import { buildProgram } from "../src/cli/program.ts";

/** docs/commands.md, from the commands themselves. */
export async function renderCommandDocs(): Promise<string> {
  const sections = (await buildProgram(collectHost())).commands.map(renderCommand);
  return [
    "# Commands",
    "",
    "<!-- Written by `npm run docs` from the commands themselves; a test compares. -->",
    "",
    "Data goes to stdout, everything else to stderr. With `--json` stdout holds one JSON document, `schema` first, also when",
    "the command fails (`noodle.error.v1`). Exit codes: 0 ok, 1 failure, 2 wrong usage or input, 3 peer not reachable,",
    "4 timed out, 130 interrupted. The first Ctrl-C ends cleanly, the second at once. Sizes are written `8GiB`, `500MB` or in",
    "bytes; units and splits `A:B` and `0:6,6:10,10:14`.",
    "",
    "Environment: `NOODLE_ENGINE_DIR` (folder of the engine's libraries instead of an installed package),",
    "`NOODLE_CPU_VARIANT` (CPU variant to load instead of the best one), `NOODLE_DATA_DIR` (data directory where `--data` is",
    "not given).",
    "",
    ...sections,
  ].join("\n");
}

function renderCommand(command: Command): string {
  const args = command.registeredArguments.map((argument) =>
    argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
  );
  const options = command.options.map((option) => {
    const value: unknown = option.defaultValue;
    const text =
      option.defaultValueDescription ?? (value === undefined || value === false ? "" : JSON.stringify(value));
    return `| \`${option.flags}\` | ${escapeCell(option.description)}${option.mandatory ? " (required)" : ""} | ${text === "" ? "" : `\`${text}\``} |`;
  });
  return [
    `## noodle ${[command.name(), ...args].join(" ")}`,
    "",
    command.description(),
    "",
    "| option | meaning | default |",
    "|---|---|---|",
    ...options,
    "",
    "```sh",
    ...readExamples(command),
    "```",
    "",
  ].join("\n");
}

function escapeCell(text: string): string {
  return text.replaceAll("|", "\\|");
}

/** The example lines of a command's help. */
function readExamples(command: Command): readonly string[] {
  let help = "";
  command.configureOutput({
    writeOut: (part) => {
      help += part;
    },
  });
  command.outputHelp();
  return [...help.matchAll(/^ {2}\$ (.+)$/gm)].map((match) => match[1] ?? "");
}
