import { Command } from "commander";
import type { CliHost } from "./host.ts";
import { Output } from "./output.ts";

/** What an action gets beside its arguments and options. */
export interface CommandContext {
  readonly host: CliHost;
  readonly out: Output;
  readonly signal: AbortSignal;
}

export interface CommandText {
  /** As commander reads it: name and arguments. */
  readonly usage: string;
  readonly summary: string;
  /** At least one whole command line that works. */
  readonly examples: readonly [string, ...string[]];
}

/** What each command file exports: puts its command into the program. */
export type AddCommand = (program: Command, host: CliHost) => void;

/** Creates a command with its examples in the help and the `--json` option that all of them have. */
export function defineCommand(program: Command, text: CommandText): Command {
  const [name = "", ...args] = text.usage.split(" ");
  const command = new Command(name)
    .summary(text.summary)
    .description(`${text.summary.charAt(0).toUpperCase()}${text.summary.slice(1)}.`)
    .option("--json", "write one JSON document to stdout and nothing else");
  if (args.length > 0) command.arguments(args.join(" "));
  const lines = text.examples.map((example) => `  $ ${example}`);
  command.addHelpText("after", `\n${lines.length === 1 ? "Example" : "Examples"}:\n${lines.join("\n")}`);
  command.copyInheritedSettings(program);
  program.addCommand(command);
  return command;
}

/** The context of one invocation. */
export function openContext(host: CliHost, options: { readonly json?: boolean }): CommandContext {
  return { host, out: new Output(host, options.json === true), signal: host.signal };
}
