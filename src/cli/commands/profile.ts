import { join, resolve } from "node:path";
import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { HOOK_LEVELS, type HookLevel, readHookLevel } from "../../observe/index.ts";
import { DUMMY_SHAPES } from "../../model/index.ts";
import type { ProfileDocument } from "../../profile/index.ts";
import { profileModel, type ProfileOptions } from "../../profiler/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { readTrustedEngineOptions } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { PACKAGE_VERSION } from "../package.ts";
import { renderProfile } from "../profile-view.ts";
import { writeWhole } from "../write-whole.ts";
import { parseDurationMs, parseInteger, parseIntegers, parseSizeBytes } from "../quantities.ts";

interface ProfileCommandOptions {
  readonly json?: boolean;
  readonly units?: string;
  readonly threads?: number;
  readonly level: HookLevel;
  readonly prefill: readonly number[];
  readonly decodeRows: readonly number[];
  readonly contexts: readonly number[];
  readonly budget: number | null;
  readonly out?: string;
  readonly synthetic?: boolean;
  readonly like?: string;
  readonly type?: string;
  readonly memory?: number;
  readonly seed: number;
  readonly all?: boolean;
}

export function addProfile(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "profile [model]",
    summary: "measure what every unit of a model costs on this machine, and say what bounds it",
    examples: [
      "noodle profile model.gguf --budget 30s --out run",
      "noodle profile model.gguf --units 3:7 --contexts 0,4096",
      "noodle profile --like gpt2-124m --level role --type f16",
      "noodle profile huge-70b.gguf --synthetic --units 1:3",
    ],
  })
    .option("--units <a:b>", "half-open range of units (default: all)")
    .option("--threads <n>", "threads (default: one for each core)", (text) => parseInteger(text, "--threads", 1, 512))
    .option(
      "--level <level>",
      `how closely to look: ${HOOK_LEVELS.join(", ")}`,
      (text) => readHookLevel(text, "--level"),
      "role" as HookLevel,
    )
    .option("--prefill <rows>", "rows of prompt chunks, or none", readRows("--prefill", 1), [16, 64, 256])
    .option(
      "--decode-rows <rows>",
      "sequences that decode together, or none",
      readRows("--decode-rows", 1),
      [1, 2, 4, 8, 16],
    )
    .option("--contexts <tokens>", "positions before a step", readRows("--contexts", 0), [0, 512, 2048])
    .option(
      "--budget <time>",
      "time for measuring, such as 30s or 5m; none = until all is known well",
      readBudget,
      60_000,
    )
    .option("--out <dir>", "folder that profile.json is written to")
    .option("--synthetic", "time layers of the same shapes with random weights; the header of the model is enough")
    .option("--like <shape>", `a known shape instead of a model: ${[...DUMMY_SHAPES.keys()].join(", ")}`)
    .option("--type <type>", "weight type of --like, for example f16, q8_0, q4_k_m (default: q4_0)")
    .option("--memory <size>", "what weights and KV may take (default: four fifths of what is free)", (text) =>
      parseSizeBytes(text, "--memory"),
    )
    .option("--seed <n>", "of inputs, random weights and order", (text) => parseInteger(text, "--seed", 0), 1)
    .option("--all", "a line for each of very many units")
    .action((model: string | undefined, options: ProfileCommandOptions) =>
      profile(openContext(host, options), model, options),
    );
}

async function profile(
  { out, host, signal }: CommandContext,
  model: string | undefined,
  options: ProfileCommandOptions,
): Promise<void> {
  const document = await profileModel(
    { ...toProfileOptions(model, options), engine: readTrustedEngineOptions(host.env) },
    (progress) => {
      if (progress.type === "phase") out.progress.phase(progress.words);
      else out.progress.update(progress.fraction, progress.words);
    },
    signal,
  );
  out.progress.clear();
  if (options.out !== undefined) out.note(`written: ${await writeProfile(options.out, document)}`);
  out.document({ ...document });
  out.data(renderProfile(document, options.all === true));
  if (!document.partial) return;
  // What was measured has been given; the exit code still says how the run ended.
  signal.throwIfAborted();
  throw new NoodleError("ENGINE_ABORTED", document.partial_reason ?? "the run ended early");
}

function toProfileOptions(model: string | undefined, options: ProfileCommandOptions): ProfileOptions {
  const { units, threads, like, type, memory } = options;
  return {
    ...(model === undefined ? {} : { model }),
    ...(like === undefined ? {} : { like }),
    ...(type === undefined ? {} : { type }),
    ...(units === undefined ? {} : { units }),
    ...(threads === undefined ? {} : { threads }),
    ...(memory === undefined ? {} : { memoryBytes: memory }),
    synthetic: options.synthetic === true,
    level: options.level,
    prefillRows: options.prefill,
    decodeRows: options.decodeRows,
    contexts: options.contexts,
    budgetMs: options.budget,
    seed: options.seed,
    noodlecoreVersion: PACKAGE_VERSION,
  };
}

async function writeProfile(directory: string, document: ProfileDocument): Promise<string> {
  const path = join(resolve(directory), "profile.json");
  await writeWhole(path, `${JSON.stringify(document, null, 2)}\n`);
  return path;
}

function readRows(option: string, min: number): (text: string) => readonly number[] {
  return (text) => (text.trim() === "none" ? [] : parseIntegers(text, option, min));
}

function readBudget(text: string): number | null {
  return text.trim() === "none" ? null : parseDurationMs(text, "--budget");
}
