import type { Command } from "commander";
import { ChromeRecorder, simulate, type TokenCount } from "../../sim/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { parseDecimal, parseInteger } from "../quantities.ts";
import { writeSimulationPage } from "../sim-page.ts";
import { prepareCluster, readPlannedModel, type SimSource } from "../sim-source.ts";
import { renderSimulation } from "../sim-view.ts";
import { parseTokenCount, readWorkload } from "../sim-workload.ts";
import { writeWhole } from "../write-whole.ts";

interface SimulateOptions extends SimSource {
  readonly json?: boolean;
  readonly workload?: string;
  readonly rate?: number;
  readonly requests?: number;
  readonly promptTokens?: TokenCount;
  readonly genTokens?: TokenCount;
  readonly noise?: number;
  readonly seed: number;
  readonly trace?: string;
  readonly report?: string;
}

export function addSimulate(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "simulate <plan-or-model>",
    summary: "predict what a workload meets on a cluster, event by event, before a byte moves",
    examples: [
      "noodle simulate model.gguf --cluster cluster.yaml --streams 16 --prompt-tokens 128 --gen-tokens 64",
      "noodle simulate plan.json --cluster cluster.yaml --rate 2 --requests 500 --seed 7 --json",
      "noodle simulate plan.json --cluster cluster.yaml --workload trace.jsonl --trace sim-trace.json --report sim.html",
    ],
  });
  addSimSourceOptions(command)
    .option("--workload <file>", "requests of a file: JSON lines with timestamp, input_length, output_length")
    .option("--rate <r>", "requests a second, at random times", (text) => parseDecimal(text, "--rate", 1e-6, 1e6))
    .option("--noise <sigma>", "spread of a step's time: sigma of its logarithm (default: 0)", (text) =>
      parseDecimal(text, "--noise", 0, 4),
    )
    .option("--trace <file>", "write every step as a Chrome trace, for ui.perfetto.dev")
    .option("--report <file>", "write a page that needs no network")
    .action((target: string, options: SimulateOptions) => runSimulate(openContext(host, options), target, options));
}

/** What `noodle simulate` and `noodle whatif` share. */
export function addSimSourceOptions(command: Command): Command {
  return command
    .option("--cluster <file>", "cluster.yaml: nodes, profiles, virtual nodes, links, slowdowns, failures")
    .option("--coordinator <host:port>", "the nodes of a running cluster; links from --cluster if given")
    .option(
      "--profile <node=file>",
      "profile of a node; without node= of all that have none; repeatable",
      (text: string, before: readonly string[]) => [...before, text],
      [] as readonly string[],
    )
    .option("--model <file>", "the model, where a plan does not say where it is")
    .option("--streams <n>", "requests at a time, each client sending its next when the last has ended", (text) =>
      parseInteger(text, "--streams", 1, 65_536),
    )
    .option("--context <n>", "tokens of each stream, where a model is planned", (text) =>
      parseInteger(text, "--context", 2, 2 ** 24),
    )
    .option("--prompt-tokens <n>", "tokens of a prompt, or from..to (default: 128)", (text) =>
      parseTokenCount(text, "--prompt-tokens"),
    )
    .option("--gen-tokens <n>", "tokens of an answer, or from..to (default: 64)", (text) =>
      parseTokenCount(text, "--gen-tokens"),
    )
    .option("--requests <n>", "how many (default: 200, or all of the file)", (text) =>
      parseInteger(text, "--requests", 1, 2_000_000),
    )
    .option("--seed <s>", "same seed, same events", (text) => parseInteger(text, "--seed", 0), 1);
}

async function runSimulate(context: CommandContext, target: string, options: SimulateOptions): Promise<void> {
  const { out } = context;
  const planned = await readPlannedModel(context, target, options);
  const { words, workload, malformed, malformedCount } = await readWorkload(
    options,
    options.streams ?? planned.plan.workload.streams,
  );
  for (const { line, reason } of malformed.slice(0, 5)) out.note(`line ${line} was left out: ${reason}`);
  if (malformedCount > 5) out.note(`${malformedCount} lines were left out`);
  const { noise, seed } = options;
  const cluster = await prepareCluster(context, planned, noise === undefined ? {} : { noise });
  const recorder = options.trace === undefined ? null : new ChromeRecorder();
  const document = simulate(cluster, workload, { seed, ...(recorder === null ? {} : { observer: recorder }) });
  const { plan, placement } = planned;
  out.document({
    ...document,
    workload: { words, malformed_lines: malformedCount, malformed },
    plan: { split: plan.split, order: plan.order, policy: plan.policy, predicted: plan.predicted },
    notes: placement.notes,
  });
  out.line(`${plan.split ?? ""} on ${plan.order.join(", ")}`);
  out.data(renderSimulation(document, words));
  for (const note of placement.notes) out.note(note);
  if (options.trace !== undefined && recorder !== null) {
    const trace = recorder.finish();
    await writeWhole(options.trace, JSON.stringify(trace));
    const { left_out: leftOut } = trace.otherData;
    out.note(`wrote ${options.trace}${leftOut > 0 ? `; ${leftOut} later events were left out` : ""}`);
  }
  if (options.report !== undefined) {
    await writeSimulationPage(options.report, document, words, plan);
    out.note(`wrote ${options.report}`);
  }
}
