import { Command, CommanderError } from "commander";
import { NoodleError } from "../common/index.ts";
import type { AddCommand } from "./command.ts";
import { addCoordinator } from "./commands/coordinator.ts";
import { addCut } from "./commands/cut.ts";
import { addDemo } from "./commands/demo.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addDummy } from "./commands/dummy.ts";
import { addGenerate } from "./commands/generate.ts";
import { addInspect } from "./commands/inspect.ts";
import { addQuantize } from "./commands/quantize.ts";
import { addStatus } from "./commands/status.ts";
import { addUp } from "./commands/up.ts";
import { addWorker } from "./commands/worker.ts";
import type { CliHost } from "./host.ts";
import { Output } from "./output.ts";
import { PACKAGE_VERSION } from "./package.ts";

const COMMANDS: readonly AddCommand[] = [
  addDemo,
  addGenerate,
  addUp,
  addCoordinator,
  addWorker,
  addStatus,
  addInspect,
  addCut,
  addDummy,
  addQuantize,
  addDoctor,
];

/** The whole command tree, bound to `host`. */
export function buildProgram(host: CliHost): Command {
  const program = new Command("noodle")
    .description("Runs one large language model over several machines, cut into exact stages.")
    .version(PACKAGE_VERSION, "-V, --version", "print the version")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => host.stdout.write(text),
      writeErr: (text) => host.stderr.write(text),
      // Errors are printed once, in one form, by `runCli`.
      outputError: () => undefined,
    })
    .configureHelp({ sortSubcommands: false })
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      [
        "",
        "Examples:",
        "  $ noodle demo",
        '  $ noodle generate model.gguf -p "Once upon a time" --workers 2 --verify',
        "",
        "Exit codes: 0 ok, 1 failure, 2 wrong usage or input, 3 peer not reachable, 4 timed out, 130 interrupted.",
      ].join("\n"),
    );
  for (const add of COMMANDS) add(program, host);
  return program;
}

/** Runs one command line; every error ends here and becomes text and an exit code. */
export async function runCli(argv: readonly string[], host: CliHost): Promise<number> {
  try {
    await buildProgram(host).parseAsync([...argv], { from: "user" });
    return 0;
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
    const error = toNoodleError(thrown);
    new Output(host, argv.includes("--json")).error(error);
    return error.row.exit;
  }
}

function toNoodleError(thrown: unknown): NoodleError {
  if (!(thrown instanceof CommanderError)) return NoodleError.from(thrown);
  if (thrown.code === "commander.help") return new NoodleError("USAGE", "no command given");
  return new NoodleError("USAGE", thrown.message.replace(/^error: /, ""));
}
