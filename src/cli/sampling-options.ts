import { readFile, stat } from "node:fs/promises";
import type { Command } from "commander";
import { NoodleError } from "../common/index.ts";
import { GREEDY, type SamplingParams } from "../engine/index.ts";
import { parseDecimal, parseInteger } from "./quantities.ts";

const DEFAULT_TOP_K = 40;
/** The API's. */
const MAX_TEMPERATURE = 5;
const MAX_SEED = 0xffff_ffff;
const MAX_BIASES = 1024;
const MAX_STOPS = 16;
const MAX_STOP_BYTES = 128;
const MAX_GRAMMAR_BYTES = 64 * 1024;

type Bias = readonly [tokenId: number, bias: number];

/** How tokens are chosen, as the command line says it. */
export interface SamplingOptions {
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly typicalP?: number;
  readonly repeatPenalty?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly logitBias?: readonly Bias[];
  readonly grammar?: string;
  readonly jsonSchema?: string;
  readonly seed?: number;
}

export interface StopOptions {
  readonly stop?: readonly string[];
}

type Shown = Partial<Record<"temperature" | "topP" | "minP" | "repeatPenalty" | "seed", number>>;

/** The options with greedy sampling as their default. */
export function addSamplingOptions(command: Command): Command {
  const { temperature, topP, minP, repeatPenalty, seed } = GREEDY;
  return defineOptions(command, { temperature, topP, minP, repeatPenalty, seed });
}

/** The options for a request to the API, which has defaults of its own. */
export function addApiSamplingOptions(command: Command): Command {
  return defineOptions(command, {});
}

export function addStopOption(command: Command): Command {
  return command.option("--stop <text>", "end where this text begins; may be given again", addStop);
}

function defineOptions(command: Command, defaults: Shown): Command {
  const define = (flags: string, text: string, read: (value: string) => number, shown?: number): void => {
    command.option(flags, text, read, shown);
  };
  const decimal = (option: string, least: number, most: number) => (text: string) =>
    parseDecimal(text, option, least, most);
  define(
    "--temperature <t>",
    "0 = greedy: always the likeliest token",
    decimal("--temperature", 0, MAX_TEMPERATURE),
    defaults.temperature,
  );
  const topK = defaults.temperature === undefined ? "" : ` (default: ${DEFAULT_TOP_K} when sampling)`;
  define("--top-k <n>", `sample from the n likeliest tokens, 0 = all${topK}`, (text) =>
    parseInteger(text, "--top-k", 0, 1_000_000),
  );
  define(
    "--top-p <p>",
    "sample from the likeliest tokens that sum to p, 1 = all",
    decimal("--top-p", 0, 1),
    defaults.topP,
  );
  define("--min-p <p>", "drop tokens below p times the likeliest, 0 = none", decimal("--min-p", 0, 1), defaults.minP);
  define("--typical-p <p>", "keep tokens as surprising as usual, summing to p, 1 = all", decimal("--typical-p", 0, 1));
  define(
    "--repeat-penalty <x>",
    "make tokens of the last 64 less likely, 1 = off",
    decimal("--repeat-penalty", 0.01, 10),
    defaults.repeatPenalty,
  );
  define(
    "--presence-penalty <x>",
    "taken once from tokens of the last 64, 0 = off",
    decimal("--presence-penalty", -2, 2),
  );
  define(
    "--frequency-penalty <x>",
    "taken from them for each time they came, 0 = off",
    decimal("--frequency-penalty", -2, 2),
  );
  command.option("--logit-bias <id=x>", "add x to a token's logit, -100 bans it; may be given again", addBias);
  define(
    "--seed <n>",
    "of the sampler: the same seed gives the same text",
    (text) => parseInteger(text, "--seed", 0, MAX_SEED),
    defaults.seed,
  );
  return command
    .option("--grammar <file>", "the text must follow this grammar (GBNF with the rule root)")
    .option("--json-schema <file>", "the text must be JSON of this schema");
}

/**
 * Greedy unless a temperature is given.
 *
 * @throws NoodleError `USAGE`, `GRAMMAR_INVALID`, `LIMIT_EXCEEDED`, the errors of a file
 */
export async function readSampling(options: SamplingOptions): Promise<SamplingParams> {
  const temperature = options.temperature ?? GREEDY.temperature;
  const grammar = await readGrammar(options);
  const { typicalP, presencePenalty, frequencyPenalty, logitBias } = options;
  return {
    temperature,
    topK: options.topK ?? (temperature === 0 ? GREEDY.topK : DEFAULT_TOP_K),
    topP: options.topP ?? GREEDY.topP,
    minP: options.minP ?? GREEDY.minP,
    repeatPenalty: options.repeatPenalty ?? GREEDY.repeatPenalty,
    seed: options.seed ?? GREEDY.seed,
    ...(typicalP === undefined ? {} : { typicalP }),
    ...(presencePenalty === undefined ? {} : { presencePenalty }),
    ...(frequencyPenalty === undefined ? {} : { frequencyPenalty }),
    ...(logitBias === undefined
      ? {}
      : { logitBias: logitBias.map(([id, bias]) => [id, bias <= -100 ? Number.NEGATIVE_INFINITY : bias] as const) }),
    ...(grammar === null ? {} : { grammar }),
  };
}

/** The fields of a request to the API; what is not given is left to it. @throws as `readSampling` */
export async function writeApiSampling(
  options: SamplingOptions & StopOptions,
): Promise<Readonly<Record<string, unknown>>> {
  const { grammar, jsonSchema } = options;
  requireOneGrammar(options);
  const fields: Readonly<Record<string, unknown>> = {
    temperature: options.temperature,
    top_k: options.topK,
    top_p: options.topP,
    min_p: options.minP,
    typical_p: options.typicalP,
    repeat_penalty: options.repeatPenalty,
    presence_penalty: options.presencePenalty,
    frequency_penalty: options.frequencyPenalty,
    logit_bias: options.logitBias === undefined ? undefined : Object.fromEntries(options.logitBias),
    seed: options.seed,
    stop: options.stop,
    grammar: grammar === undefined ? undefined : await readSmallFile(grammar, "--grammar"),
    response_format:
      jsonSchema === undefined
        ? undefined
        : { type: "json_schema", json_schema: { name: "answer", schema: await readSchema(jsonSchema) } },
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

async function readGrammar(options: SamplingOptions): Promise<string | null> {
  requireOneGrammar(options);
  const { grammar, jsonSchema } = options;
  if (grammar === undefined && jsonSchema === undefined) return null;
  // Loaded where somebody asks for it.
  const { checkGrammar, compileJsonSchema } = await import("../grammar/index.ts");
  if (jsonSchema !== undefined) return compileJsonSchema(await readSchema(jsonSchema));
  const text = await readSmallFile(grammar ?? "", "--grammar");
  checkGrammar(text);
  return text;
}

function requireOneGrammar({ grammar, jsonSchema }: SamplingOptions): void {
  if (grammar !== undefined && jsonSchema !== undefined) {
    throw new NoodleError("USAGE", "--grammar and --json-schema exclude each other");
  }
}

async function readSchema(path: string): Promise<unknown> {
  const text = await readSmallFile(path, "--json-schema");
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new NoodleError("GRAMMAR_INVALID", `${path} is not JSON (--json-schema)`, { cause: error });
  }
}

async function readSmallFile(path: string, option: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_GRAMMAR_BYTES) {
      throw new NoodleError(
        "LIMIT_EXCEEDED",
        `${path} has ${size} bytes, the limit is ${MAX_GRAMMAR_BYTES} (${option})`,
      );
    }
    return await readFile(path, "utf8");
  } catch (error) {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
}

function addBias(text: string, before: readonly Bias[] | undefined): readonly Bias[] {
  const match = /^(\d{1,10})[=:](.+)$/.exec(text);
  if (match === null) throw new NoodleError("USAGE", `--logit-bias "${text}" is not ID=X, such as 15043=-1`);
  const all: readonly Bias[] = [
    ...(before ?? []),
    [
      parseInteger(match[1] ?? "", "--logit-bias", 0, 0x7fff_ffff),
      parseDecimal(match[2] ?? "", "--logit-bias", -100, 100),
    ],
  ];
  if (all.length > MAX_BIASES) throw new NoodleError("USAGE", `--logit-bias: at most ${MAX_BIASES} tokens`);
  return all;
}

function addStop(text: string, before: readonly string[] | undefined): readonly string[] {
  if (text === "" || Buffer.byteLength(text) > MAX_STOP_BYTES) {
    throw new NoodleError("USAGE", `--stop must have 1 to ${MAX_STOP_BYTES} bytes, got ${Buffer.byteLength(text)}`);
  }
  const all = [...(before ?? []), text];
  if (all.length > MAX_STOPS) throw new NoodleError("USAGE", `--stop: at most ${MAX_STOPS} texts`);
  return all;
}
