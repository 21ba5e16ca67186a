import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { Tokenizer, tryTokenizer } from "../../engine/index.ts";
import { describePlacementModel } from "../../placement/index.ts";
import { readModelHeader } from "../../profiler/index.ts";
import { checkSpeeds, type LinkShape, parsePlanRules, validateModel } from "../../validate/index.ts";
import { parseThreads, parseWorkers } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { prepareEngine, readEngineOptions, readTrustedEngineOptions } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { PACKAGE_ROOT, PACKAGE_VERSION } from "../package.ts";
import { readProfileFile } from "../profile-choice.ts";
import { parseDecimal, parseDurationMs, parseInteger } from "../quantities.ts";
import { renderValidation } from "../validation-view.ts";
import { writeValidationPage } from "../validation-page.ts";
import { writeWhole } from "../write-whole.ts";

interface ValidateOptions {
  readonly json?: boolean;
  readonly workers: number;
  readonly plans: string;
  readonly speeds?: readonly number[];
  readonly shapeLinks?: LinkShape;
  readonly streams: number;
  readonly promptTokens: number;
  readonly genTokens: number;
  readonly requests?: number;
  readonly repetitions: number;
  readonly threads: number;
  readonly profile?: string;
  readonly budget: number;
  readonly seed: number;
  readonly out?: string;
  readonly report?: string;
}

const BYTES_PER_MS_OF_MBIT = 125;
/** Two cores' worth of compute, and some left over for everything else. */
const FIRST_SPEED = 2;
/** Room for the requests of the calibration. */
const LEAST_GENERATED = 32;

export function addValidate(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "validate <model>",
    summary:
      "predict plans from a profile, run each for real on local workers, and show how far off the prediction was",
    examples: [
      "noodle validate model.gguf --workers 3 --speeds 2,3,4",
      "noodle validate model.gguf --workers 3 --plans equal,memory,optimal,random:3,skewed --shape-links latency_ms=2,mbit=1000 --json",
    ],
  })
    .option("--workers <k>", "worker processes", (text) => parseWorkers(text, "--workers"), 3)
    .option("--plans <rules>", "equal, memory, optimal, skewed, random:N", "equal,memory,optimal,skewed,random:4")
    .option(
      "--speeds <f,...>",
      "how many times as long each worker takes, by idle waiting (default: 2,3,4,...)",
      parseSpeeds,
    )
    .option("--shape-links <shape>", "latency_ms=, jitter_ms=, mbit= of every way into a worker", parseShape)
    .option(
      "--streams <n>",
      "clients, each with one request at a time",
      (text) => parseInteger(text, "--streams", 1, 64),
      4,
    )
    .option("--prompt-tokens <n>", "tokens of a prompt", (text) => parseInteger(text, "--prompt-tokens", 1, 65_536), 32)
    .option("--gen-tokens <n>", "tokens of an answer", (text) => parseInteger(text, "--gen-tokens", 2, 65_536), 24)
    .option("--requests <n>", "of all clients (default: one of each)", (text) =>
      parseInteger(text, "--requests", 1, 100_000),
    )
    .option("--repetitions <n>", "of each plan, in turns", (text) => parseInteger(text, "--repetitions", 1, 100), 3)
    .option("--threads <n>", "threads of each worker, and of the profile", parseThreads, 1)
    .option("--profile <file>", "a profile of this model on this machine (default: measured now)")
    .option(
      "--budget <time>",
      "time for the profile that is measured",
      (text) => parseDurationMs(text, "--budget"),
      20_000,
    )
    .option("--seed <n>", "of random plans and of inputs", (text) => parseInteger(text, "--seed", 0), 1)
    .option("-o, --out <file>", "write the document")
    .option("--report <file>", "write a page that needs no network")
    .action((model: string, options: ValidateOptions) => validate(openContext(host, options), model, options));
}

async function validate(context: CommandContext, model: string, options: ValidateOptions): Promise<void> {
  const { out, host, signal } = context;
  const { workers, streams, promptTokens, genTokens } = options;
  const rules = parsePlanRules(options.plans);
  const slowness = options.speeds ?? Array.from({ length: workers }, (_, index) => FIRST_SPEED + index);
  checkSpeeds(slowness, workers);
  prepareEngine(host.env);
  const { header, headerSha256, fileBytes } = await readModelHeader(model);
  const placement = describePlacementModel(header, { path: model, bytes: fileBytes, headerSha256 });
  const entry = join(PACKAGE_ROOT, "dist", "cli", "main.js");
  if (!existsSync(entry)) throw new NoodleError("ILLEGAL_STATE", `${entry} is not there: run \`npm run build\``);
  const profile = options.profile === undefined ? null : await readProfileFile(options.profile);
  await tryTokenizer(model, readEngineOptions(host.env), signal);
  using tokenizer = Tokenizer.open(model);
  const { document } = await validateModel(
    {
      model,
      placement,
      tokenizer,
      entry,
      profile,
      profiling: { engine: readTrustedEngineOptions(host.env), noodlecoreVersion: PACKAGE_VERSION },
      profileBudgetMs: options.budget,
      rules,
      slowness,
      shape: options.shapeLinks ?? null,
      load: {
        streams,
        requests: options.requests ?? streams,
        promptTokens,
        genTokens,
        contextTokens: promptTokens + Math.max(genTokens, LEAST_GENERATED),
      },
      threads: options.threads,
      repetitions: options.repetitions,
      seed: options.seed,
    },
    { signal, onPhase: (words) => out.progress.phase(words) },
  );
  out.document(document);
  out.data(renderValidation(document));
  for (const note of document.notes) out.note(note);
  if (options.out !== undefined) {
    await writeWhole(options.out, `${JSON.stringify(document, null, 2)}\n`);
    out.note(`wrote ${options.out}`);
  }
  if (options.report !== undefined) {
    await writeValidationPage(options.report, document);
    out.note(`wrote ${options.report}`);
  }
}

/** @throws USAGE */
function parseSpeeds(text: string): readonly number[] {
  return text.split(",").map((part) => parseDecimal(part, "--speeds", 1, 1000));
}

/** `latency_ms=2,mbit=1000`. @throws USAGE */
function parseShape(text: string): LinkShape {
  const shape = { latencyMs: 0, jitterMs: 0, bytesPerMs: null as number | null };
  for (const part of text.split(",")) {
    const [key, value = ""] = part.split("=");
    if (key === "latency_ms") shape.latencyMs = parseDecimal(value, "--shape-links latency_ms", 0, 10_000);
    else if (key === "jitter_ms") shape.jitterMs = parseDecimal(value, "--shape-links jitter_ms", 0, 10_000);
    else if (key === "mbit") {
      shape.bytesPerMs = BYTES_PER_MS_OF_MBIT * parseDecimal(value, "--shape-links mbit", 0.01, 1e6);
    } else throw new NoodleError("USAGE", `--shape-links "${part}": there are latency_ms=, jitter_ms= and mbit=`);
  }
  return shape;
}
