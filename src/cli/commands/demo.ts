import { statSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { must, NoodleError } from "../../common/index.ts";
import { type EngineIdentity, GREEDY, type SamplingParams } from "../../engine/index.ts";
import { type GgufFile, openGguf } from "../../gguf/index.ts";
import {
  describeModel,
  formatSplit,
  hashModel,
  type ModelDescription,
  type ModelHashes,
  type Split,
  splitByBytes,
  stageBytes,
} from "../../model/index.ts";
import { CostModel, type ProfileDocument } from "../../profile/index.ts";
import { profileModel } from "../../profiler/index.ts";
import { type RequestTrace, writeChromeTrace } from "../../trace/index.ts";
import { parseThreads, parseWorkers } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { BUNDLED_MODEL } from "../directories.ts";
import { prepareEngine, readTrustedEngineOptions } from "../engine.ts";
import { collectGeneration, type Generation, renderStageTable, writeGenerateDocument } from "../generation.ts";
import type { CliHost } from "../host.ts";
import {
  chooseContextTokens,
  chooseLocalThreads,
  chooseParallel,
  MAX_ROWS,
  withLocalCluster,
} from "../local-cluster.ts";
import { Watch } from "../observing.ts";
import { PACKAGE_VERSION } from "../package.ts";
import { formatBytes, parseInteger } from "../quantities.ts";
import { writeReport } from "../report-file.ts";
import { nameRunFolder, RunFolder } from "../run-folder.ts";
import { runStreamsAtOnce, type StreamsAtOnce } from "../streams-at-once.ts";
import { judgeSplit } from "../verdict.ts";
import { requireIdentical, verifyGeneration, type VerifiedRun, writeVerification } from "../verification.ts";

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
/** What is measured of each unit: enough for a table, little enough to wait for. */
const PROFILE = { budgetMs: 6000, prefillRows: [16, 64], decodeRows: [1, 4], contexts: [0, 256] } as const;
/** How many stories are told at once, and how long they are. */
const STREAMS = 8;
const STREAM_TOKENS = 48;
/** The story is short: one step in twenty still shows a dozen of them from inside. */
const SAMPLE_EVERY = 20;

export function addDemo(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "demo",
    summary:
      "the main job on the bundled model: profile it, cut it for three workers, stream a story, check every bit, report",
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

interface Story {
  readonly generation: Generation;
  readonly trace: RequestTrace;
  readonly streams: StreamsAtOnce;
}

interface Plan {
  readonly model: ModelDescription;
  readonly hashes: ModelHashes;
  readonly split: Split;
  readonly profile: ProfileDocument;
  readonly threads: number;
  readonly sampling: SamplingParams;
}

async function runDemo(context: CommandContext, options: DemoOptions): Promise<void> {
  const { out, host, signal } = context;
  const engine = prepareEngine(host.env);
  const file = await openGguf(BUNDLED_MODEL);
  try {
    const folder = await RunFolder.create(options.out ?? nameRunFolder(new Date()));
    const plan = await makePlan(context, file, options);
    const { threads } = plan;
    await writePlan(folder, plan);
    const { generation, trace, streams } = await tellStory(context, plan, engine, folder, options);
    await folder.writeText("trace.json", `${JSON.stringify(writeChromeTrace([trace]))}\n`);
    await folder.writeText("trace.request.json", `${JSON.stringify(trace)}\n`);
    out.progress.phase("checking it against the undivided engine: the same steps, the same threads");
    const verified = await verifyGeneration(
      generation,
      {
        modelPath: BUNDLED_MODEL,
        sampling: plan.sampling,
        maxTokens: options.tokens,
        threads,
        contextTokens: chooseContextTokens(undefined, plan.model.contextLength),
        parallel: chooseParallel(undefined),
        maxRows: MAX_ROWS,
      },
      signal,
    );
    await report(context, folder, plan, { generation, streams }, verified, options.prompt);
  } finally {
    await file.close();
  }
}

/** Generates through worker processes, watched: logs in the run's folder, and the trace of the one request. */
async function tellStory(
  context: CommandContext,
  plan: Plan,
  engine: EngineIdentity,
  folder: RunFolder,
  options: DemoOptions,
): Promise<Story> {
  const { out, signal } = context;
  const { model, hashes, split, threads, sampling } = plan;
  const observing = { logs: join(folder.path, "logs"), sampleEvery: SAMPLE_EVERY };
  const { headerSha256 } = hashes;
  await using watch = await Watch.open({ context, options: observing, model, headerSha256, engine, threads });
  const { generation, streams } = await withLocalCluster(
    {
      context,
      model: BUNDLED_MODEL,
      options: { ...options, split: formatSplit(split) },
      threads,
      workers: split.length,
      watching: watch.coordinatorOptions,
    },
    async ({ coordinator }) => {
      out.progress.phase(`telling a story through ${split.length} workers`);
      out.data(`\n${options.prompt}`);
      const request = {
        prompt: options.prompt,
        maxTokens: options.tokens,
        sampling,
        wantLogits: true,
        wantKvHashes: true,
      };
      const story = await collectGeneration(coordinator.generate(request, signal), (text) => out.data(text));
      out.line("\n");
      out.progress.phase(`telling ${STREAMS} stories, one behind another and then all at once`);
      const others = Array.from({ length: STREAMS }, (_, index) => ({
        prompt: options.prompt,
        maxTokens: STREAM_TOKENS,
        ignoreEos: true,
        sampling: { ...sampling, seed: (options.seed + 1 + index) % 0x1_0000_0000 },
      }));
      return { generation: story, streams: await runStreamsAtOnce(coordinator, others, signal) };
    },
  );
  const [requestId] = watch.traces.requestIds;
  return { generation, streams, trace: must(watch.traces.readTrace(must(requestId, "request")), "trace") };
}

async function makePlan({ out, host, signal }: CommandContext, file: GgufFile, options: DemoOptions): Promise<Plan> {
  const threads = chooseLocalThreads(options.threads, options.workers);
  const model = describeModel(file.header, file.fileBytes);
  out.progress.phase(
    `reading ${model.name ?? "the bundled model"}: ${model.architecture}, ${model.units.length} units, ${formatBytes(model.fileBytes)}`,
  );
  const hashes = await hashModel(file, undefined, signal);
  out.progress.phase(`measuring what each of its units costs here, with ${threads} thread${threads === 1 ? "" : "s"}`);
  const profile = await profileModel(
    {
      ...PROFILE,
      model: BUNDLED_MODEL,
      threads,
      engine: readTrustedEngineOptions(host.env),
      noodlecoreVersion: PACKAGE_VERSION,
    },
    (progress) => {
      if (progress.type === "update") out.progress.update(progress.fraction);
    },
    signal,
  );
  for (const words of profile.summary) out.note(`  ${words}`);
  const split = splitByBytes(model, options.workers);
  out.progress.phase(`cutting it for ${options.workers} workers: ${formatSplit(split)} (balanced by bytes)`);
  const costs = new CostModel(profile.cost_model);
  for (const units of split) {
    const { ms } = costs.predictStage(units, { phase: "decode", rows: 1, context: 0 });
    out.note(
      `  units ${units.first}:${units.end}, ${formatBytes(stageBytes(model, units))}, ${ms.toFixed(3)} ms of a token`,
    );
  }
  return {
    model,
    hashes,
    split,
    profile,
    threads,
    sampling: { ...GREEDY, temperature: TEMPERATURE, topK: TOP_K, seed: options.seed },
  };
}

async function writePlan(folder: RunFolder, { model, hashes, split, profile, threads }: Plan): Promise<void> {
  await folder.writeJson("plan.json", {
    schema: "noodle.split.v1",
    model: model.name,
    source_sha256: hashes.sourceSha256,
    split: formatSplit(split),
    threads,
    stages: split.map((units) => ({ units: `${units.first}:${units.end}`, bytes: stageBytes(model, units) })),
  });
  await folder.writeJson("profile.json", profile);
}

async function report(
  context: CommandContext,
  folder: RunFolder,
  plan: Plan,
  { generation, streams }: Pick<Story, "generation" | "streams">,
  { verification, reference }: VerifiedRun,
  prompt: string,
): Promise<void> {
  const { out } = context;
  const document = writeGenerateDocument(generation, { verify: writeVerification(verification) });
  const stages = document["stages"] as readonly object[];
  const computeMs = generation.stages.reduce((sum, stage) => sum + stage.computeMsP50, 0);
  const words = judgeSplit({
    workers: plan.split.length,
    pipelineTokensPerSec: generation.decodeTokensPerSec,
    undividedTokensPerSec: reference.decodeTokensPerSec,
    computeMs,
    largestStageBytes: Math.max(...plan.split.map((units) => stageBytes(plan.model, units))),
    modelBytes: plan.model.units.reduce((sum, unit) => sum + unit.bytes, 0),
  });
  await folder.writeText("story.txt", `${prompt}${generation.text}\n`);
  await folder.writeJson("verify.json", { schema: "noodle.verify.v1", ...writeVerification(verification) });
  await folder.writeLines(
    "stages.jsonl",
    stages.map((stage) => ({ schema: "noodle.stage_stats.v1", ...stage })),
  );
  const { schema: _schema, ...generated } = document;
  const summary = {
    schema: "noodle.demo.v1",
    folder: folder.path,
    files: [...folder.files, "logs", "summary.json", "report.html", "report.json"],
    model: { path: BUNDLED_MODEL, bytes: statSync(BUNDLED_MODEL).size, source_sha256: plan.hashes.sourceSha256 },
    split: formatSplit(plan.split),
    threads: plan.threads,
    undivided_tokens_per_sec: reference.decodeTokensPerSec,
    verdict: words,
    streams: {
      streams: streams.streams,
      tokens: streams.tokens,
      tokens_per_sec: streams.tokensPerSec,
      alone_tokens_per_sec: streams.aloneTokensPerSec,
      identical: streams.identical,
    },
    ...generated,
  };
  await folder.writeJson("summary.json", summary);
  const { report: page, pagePath } = await writeReport(context, [folder.path], join(folder.path, "report.html"));
  out.document(summary);
  requireIdentical(verification);
  if (!streams.identical) {
    throw new NoodleError(
      "VERIFY_FAILED",
      `of ${streams.streams} streams at once, not all gave the tokens of their run alone`,
    );
  }
  const layers = generation.kv.length;
  out.line(
    `Identical to the undivided engine, bit for bit: ${generation.tokenIds.length} tokens, their logits, and the keys and values of ${layers} layers.\n`,
  );
  out.data(renderStageTable(generation));
  out.line();
  for (const sentence of words) out.line(sentence);
  const gain = streams.tokensPerSec / streams.aloneTokensPerSec;
  out.line(
    `${streams.streams} streams at once: ${streams.tokensPerSec.toFixed(0)} tokens/s together, ${gain.toFixed(2)} times the ${streams.aloneTokensPerSec.toFixed(0)} of one at a time, each with the very tokens of its run alone.`,
  );
  out.line();
  for (const sentence of page.statements) out.line(sentence);
  out.line(`\nThe run's files: ${folder.path}`);
  out.line(`  ${summary.files.join("  ")}`);
  out.line(`Look at it: ${pagePath}`);
  out.line("\nNext:");
  out.line("  npx noodle profile models/storyteller-q8_0.gguf --budget 20s");
  out.line("  npx noodle profile --like gpt2-124m --type f16      # of a model that is not here");
  out.line('  npx noodle generate models/storyteller-q8_0.gguf -p "The old woman said" --workers 2 --verify');
  out.line("  npx noodle up models/storyteller-q8_0.gguf --workers 3      # and in another terminal: npx noodle top");
}
