import { Command, CommanderError } from "commander";
import { NoodleError } from "../common/index.ts";
import type { AddCommand } from "./command.ts";
import type { CliHost } from "./host.ts";
import { Output } from "./output.ts";
import { PACKAGE_VERSION } from "./package.ts";

/** Each is loaded when it is run: a worker must not carry what a report is made of. */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  demo: async () => (await import("./commands/demo.ts")).addDemo,
  generate: async () => (await import("./commands/generate.ts")).addGenerate,
  up: async () => (await import("./commands/up.ts")).addUp,
  coordinator: async () => (await import("./commands/coordinator.ts")).addCoordinator,
  run: async () => (await import("./commands/run.ts")).addRun,
  chat: async () => (await import("./commands/chat.ts")).addChat,
  batch: async () => (await import("./commands/batch.ts")).addBatch,
  worker: async () => (await import("./commands/worker.ts")).addWorker,
  cluster: async () => (await import("./commands/cluster.ts")).addCluster,
  status: async () => (await import("./commands/status.ts")).addStatus,
  top: async () => (await import("./commands/top.ts")).addTop,
  trace: async () => (await import("./commands/trace.ts")).addTrace,
  logs: async () => (await import("./commands/logs.ts")).addLogs,
  events: async () => (await import("./commands/events.ts")).addEvents,
  inspect: async () => (await import("./commands/inspect.ts")).addInspect,
  profile: async () => (await import("./commands/profile.ts")).addProfile,
  compare: async () => (await import("./commands/compare.ts")).addCompare,
  report: async () => (await import("./commands/report.ts")).addReport,
  plan: async () => (await import("./commands/plan.ts")).addPlan,
  simulate: async () => (await import("./commands/simulate.ts")).addSimulate,
  validate: async () => (await import("./commands/validate.ts")).addValidate,
  whatif: async () => (await import("./commands/whatif.ts")).addWhatif,
  repartition: async () => (await import("./commands/repartition.ts")).addRepartition,
  cut: async () => (await import("./commands/cut.ts")).addCut,
  dummy: async () => (await import("./commands/dummy.ts")).addDummy,
  quantize: async () => (await import("./commands/quantize.ts")).addQuantize,
  doctor: async () => (await import("./commands/doctor.ts")).addDoctor,
};

/** The command tree, bound to `host`. @param names commands that are wanted. @default all */
export async function buildProgram(host: CliHost, names: readonly string[] = Object.keys(COMMANDS)): Promise<Command> {
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
  for (const name of names) (await COMMANDS[name]?.())?.(program, host);
  return program;
}

/** Runs one command line; every error ends here and becomes text and an exit code. */
export async function runCli(argv: readonly string[], host: CliHost): Promise<number> {
  try {
    const [first = ""] = argv;
    const program = await (Object.hasOwn(COMMANDS, first) ? buildProgram(host, [first]) : buildProgram(host));
    await program.parseAsync([...argv], { from: "user" });
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
