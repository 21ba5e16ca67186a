import { statSync } from "node:fs";
import type { Command } from "commander";
import { GREEDY, type SamplingParams } from "../../engine/index.ts";
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
import { parseThreads, parseWorkers } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { BUNDLED_MODEL } from "../directories.ts";
import { prepareEngine } from "../engine.ts";
import { collectGeneration, type Generation, renderStageTable, writeGenerateDocument } from "../generation.ts";
import type { CliHost } from "../host.ts";
import {
  chooseContextTokens,
  chooseLocalThreads,
  chooseParallel,
  MAX_ROWS,
  withLocalCluster,
} from "../local-cluster.ts";
import { formatBytes, parseInteger } from "../quantities.ts";
import { nameRunFolder, RunFolder } from "../run-folder.ts";
import { timeUnits, type UnitTiming } from "../unit-timing.ts";
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

export function addDemo(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "demo",
    summary:
      "the main job on the bundled model: time its units, cut it for three workers, stream a story, check every bit",
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

interface Plan {
  readonly model: ModelDescription;
  readonly hashes: ModelHashes;
  readonly split: Split;
  readonly timings: readonly UnitTiming[];
  readonly threads: number;
  readonly sampling: SamplingParams;
}

async function runDemo(context: CommandContext, options: DemoOptions): Promise<void> {
  const { out, host, signal } = context;
  prepareEngine(host.env);
  const file = await openGguf(BUNDLED_MODEL);
  try {
    const plan = await makePlan(context, file, options);
    const { threads, split } = plan;
    const folder = await RunFolder.create(options.out ?? nameRunFolder(new Date()));
    await writePlan(folder, plan);
    const generation = await withLocalCluster(
      {
        context,
        model: BUNDLED_MODEL,
        options: { ...options, split: formatSplit(split) },
        threads,
        workers: split.length,
      },
      async ({ coordinator }) => {
        out.progress.phase(`telling a story through ${split.length} workers`);
        out.data(`\n${options.prompt}`);
        const request = {
          prompt: options.prompt,
          maxTokens: options.tokens,
          sampling: plan.sampling,
          wantLogits: true,
          wantKvHashes: true,
        };
        return collectGeneration(coordinator.generate(request, signal), (text) => out.data(text));
      },
    );
    out.line("\n");
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
    await report(context, folder, plan, generation, verified, options.prompt);
  } finally {
    await file.close();
  }
}

async function makePlan({ out, signal }: CommandContext, file: GgufFile, options: DemoOptions): Promise<Plan> {
  const threads = chooseLocalThreads(options.threads, options.workers);
  const model = describeModel(file.header, file.fileBytes);
  out.progress.phase(
    `reading ${model.name ?? "the bundled model"}: ${model.architecture}, ${model.units.length} units, ${formatBytes(model.fileBytes)}`,
  );
  const hashes = await hashModel(file, undefined, signal);
  out.progress.phase(
    `timing each of its ${model.units.length} units alone, with ${threads} thread${threads === 1 ? "" : "s"}`,
  );
  const timings = await timeUnits(
    file,
    hashes,
    model.units.length,
    threads,
    (done) => out.progress.update(done),
    signal,
  );
  const blocks = timings.slice(1, -1).map(({ decodeMs }) => decodeMs);
  const [embedding, head] = [timings[0]?.decodeMs ?? 0, timings.at(-1)?.decodeMs ?? 0];
  const mean = blocks.reduce((sum, ms) => sum + ms, 0) / Math.max(1, blocks.length);
  out.note(
    `  embedding ${embedding.toFixed(3)} ms, a block ${mean.toFixed(3)} ms, head ${head.toFixed(3)} ms for each token`,
  );
  const split = splitByBytes(model, options.workers);
  out.progress.phase(`cutting it for ${options.workers} workers: ${formatSplit(split)} (balanced by bytes)`);
  for (const units of split) {
    const ms = timings.slice(units.first, units.end).reduce((sum, { decodeMs }) => sum + decodeMs, 0);
    out.note(
      `  units ${units.first}:${units.end}, ${formatBytes(stageBytes(model, units))}, ${ms.toFixed(3)} ms of its units for each token`,
    );
  }
  return {
    model,
    hashes,
    split,
    timings,
    threads,
    sampling: { ...GREEDY, temperature: TEMPERATURE, topK: TOP_K, seed: options.seed },
  };
}

async function writePlan(folder: RunFolder, { model, hashes, split, timings, threads }: Plan): Promise<void> {
  await folder.writeJson("plan.json", {
    schema: "noodle.split.v1",
    model: model.name,
    source_sha256: hashes.sourceSha256,
    split: formatSplit(split),
    threads,
    stages: split.map((units) => ({ units: `${units.first}:${units.end}`, bytes: stageBytes(model, units) })),
  });
  await folder.writeLines(
    "units.jsonl",
    timings.map(({ unit, decodeMs, prefillMsPerRow }) => ({
      schema: "noodle.unit_timing.v1",
      unit,
      name: model.units[unit]?.name,
      bytes: model.units[unit]?.bytes,
      decode_ms: decodeMs,
      prefill_ms_per_row: prefillMsPerRow,
    })),
  );
}

async function report(
  { out }: CommandContext,
  folder: RunFolder,
  plan: Plan,
  generation: Generation,
  { verification, reference }: VerifiedRun,
  prompt: string,
): Promise<void> {
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
    files: [...folder.files, "summary.json"],
    model: { path: BUNDLED_MODEL, bytes: statSync(BUNDLED_MODEL).size, source_sha256: plan.hashes.sourceSha256 },
    split: formatSplit(plan.split),
    threads: plan.threads,
    undivided_tokens_per_sec: reference.decodeTokensPerSec,
    verdict: words,
    ...generated,
  };
  await folder.writeJson("summary.json", summary);
  out.document(summary);
  requireIdentical(verification);
  const layers = generation.kv.length;
  out.line(
    `Identical to the undivided engine, bit for bit: ${generation.tokenIds.length} tokens, their logits, and the keys and values of ${layers} layers.\n`,
  );
  out.data(renderStageTable(generation));
  out.line();
  for (const sentence of words) out.line(sentence);
  out.line(`\nThe run's files: ${folder.path}`);
  out.line(`  ${folder.files.join("  ")}`);
  out.line("\nNext:");
  out.line("  npx noodle inspect models/storyteller-q8_0.gguf --row-classes");
  out.line('  npx noodle generate models/storyteller-q8_0.gguf -p "The old woman said" --workers 2 --verify');
  out.line(
    "  npx noodle up models/storyteller-q8_0.gguf --workers 3      # and in another terminal: npx noodle status",
  );
}
