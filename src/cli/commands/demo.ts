import type { Command } from "commander";
import { GREEDY } from "../../engine/index.ts";
import { openGguf } from "../../gguf/index.ts";
import { writeChromeTrace } from "../../trace/index.ts";
import { parseThreads, parseWorkers } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { prepareDemo } from "../demo-prepare.ts";
import { reportDemo } from "../demo-report.ts";
import { tellStory } from "../demo-story.ts";
import { BUNDLED_MODEL } from "../directories.ts";
import { prepareEngine } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { chooseContextTokens, chooseParallel, MAX_ROWS } from "../local-cluster.ts";
import { parseInteger } from "../quantities.ts";
import { nameRunFolder, RunFolder } from "../run-folder.ts";
import { verifyGeneration } from "../verification.ts";

interface DemoOptions {
  readonly json?: boolean;
  readonly out?: string;
  readonly workers: number;
  readonly threads?: number;
  readonly tokens: number;
  readonly prompt: string;
  readonly seed: number;
  readonly data?: string;
}

const PROMPT = "Once upon a time there was a king who had three sons.";
const TOKENS = 160;
const WORKERS = 3;
const TEMPERATURE = 0.5;
const TOP_K = 40;
const SEED = 1;
/** How many stories are told at once. */
const STREAMS = 8;

export function addDemo(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "demo",
    summary:
      "the main job on the bundled model: profile it, plan it for three workers, simulate, stream a story, kill a worker while it is told, check every bit, compare, report",
    examples: ["noodle demo", "noodle demo --workers 2 --out my-run"],
  })
    .option("--out <dir>", "folder for the run's files (default: noodle-run-DATE-TIME here)")
    .option("--workers <k>", "worker processes", (text) => parseWorkers(text, "--workers"), WORKERS)
    .option("--threads <n>", "threads of each stage (default: the cores shared among the workers)", parseThreads)
    .option("-n, --tokens <n>", "tokens of the story", (text) => parseInteger(text, "-n", 2, 480), TOKENS)
    .option("-p, --prompt <text>", "how the story begins", PROMPT)
    .option(
      "--seed <n>",
      "another seed tells another story",
      (text) => parseInteger(text, "--seed", 0, 0xffff_ffff),
      SEED,
    )
    .option("--data <dir>", "data directory of the workers")
    .action((options: DemoOptions) => runDemo(openContext(host, options), options));
}

async function runDemo(context: CommandContext, options: DemoOptions): Promise<void> {
  const { out, host, signal } = context;
  const engine = prepareEngine(host.env);
  const file = await openGguf(BUNDLED_MODEL);
  try {
    const folder = await RunFolder.create(options.out ?? nameRunFolder(new Date()));
    const plan = await prepareDemo(context, file, { ...options, streams: STREAMS });
    const sampling = { ...GREEDY, temperature: TEMPERATURE, topK: TOP_K, seed: options.seed };
    const { threads } = plan;
    await folder.writeJson("profile.json", plan.profile);
    await folder.writeJson("plan.json", plan.plan);
    const told = await tellStory(context, plan, engine, folder, { ...options, sampling, streams: STREAMS });
    await folder.writeText("trace.json", `${JSON.stringify(writeChromeTrace([told.trace]))}\n`);
    await folder.writeText("trace.request.json", `${JSON.stringify(told.trace)}\n`);
    out.progress.phase("checking it against the undivided engine: the same steps, the same threads");
    const verified = await verifyGeneration(
      told.story.generation,
      {
        modelPath: BUNDLED_MODEL,
        sampling,
        maxTokens: options.tokens,
        threads,
        contextTokens: chooseContextTokens(undefined, plan.model.contextLength),
        parallel: chooseParallel(undefined),
        maxRows: MAX_ROWS,
      },
      signal,
    );
    await reportDemo(context, folder, plan, told, verified, options.prompt);
  } finally {
    await file.close();
  }
}
