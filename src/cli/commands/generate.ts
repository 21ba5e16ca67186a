import type { Command } from "commander";
import type { GenerateRequest } from "../../cluster/coordinator/index.ts";
import { must, NoodleError } from "../../common/index.ts";
import { defaultThreads, type SamplingParams, type Tokenizer } from "../../engine/index.ts";
import { openGguf } from "../../gguf/index.ts";
import { describeModel, type ModelDescription } from "../../model/index.ts";
import { formatHostPort, parseHostPort } from "../addresses.ts";
import { addClusterOptions, type ClusterOptions, parseWorkers } from "../cluster-options.ts";
import { readOperatorSecurity } from "../cluster-security.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { prepareEngine } from "../engine.ts";
import { collectGeneration, type Generation, renderStageTable, writeGenerateDocument } from "../generation.ts";
import type { CliHost } from "../host.ts";
import {
  chooseContextTokens,
  chooseLocalThreads,
  chooseParallel,
  MAX_ROWS,
  PREFILL_ROWS,
  withLocalCluster,
} from "../local-cluster.ts";
import { stripControls } from "../plain-text.ts";
import { countNoun, parseDurationMs, parseInteger } from "../quantities.ts";
import { generateUndivided, tokenizePrompt } from "../reference.ts";
import { readClusterThreads, RemoteCluster } from "../remote-cluster.ts";
import {
  addSamplingOptions,
  addStopOption,
  readSampling,
  type SamplingOptions,
  type StopOptions,
} from "../sampling-options.ts";
import { type RunConditions, requireIdentical, verifyGeneration, writeVerification } from "../verification.ts";

interface GenerateOptions extends ClusterOptions, SamplingOptions, StopOptions {
  readonly json?: boolean;
  readonly prompt: string;
  readonly tokens: number;
  readonly workers?: number;
  readonly reference?: boolean;
  readonly coordinator?: string;
  readonly verify?: boolean;
  readonly logprobs?: number;
  readonly promptLogprobs?: number;
  readonly priority?: number;
  readonly deadline?: number;
}

/** What a generation needs, wherever it runs. */
interface GenerateJob {
  readonly context: CommandContext;
  readonly options: GenerateOptions;
  readonly sampling: SamplingParams;
  readonly onText: (text: string) => void;
}

const DEFAULT_TOKENS = 128;
const MAX_LOGPROBS = 20;
const MAX_PRIORITY = 100;

/** What only workers do: they are of a request, and the reference has none. */
const OF_REQUEST = ["stop", "logprobs", "promptLogprobs", "priority", "deadline"] as const;

export function addGenerate(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "generate [model]",
    summary: "generate text: through local workers, a running cluster (--coordinator), or undivided (--reference)",
    examples: [
      'noodle generate model.gguf -p "Once upon a time" --workers 2 --verify',
      'noodle generate model.gguf -p "Once upon a time" -n 40 --temperature 0.8 --seed 7',
      'noodle generate --coordinator 127.0.0.1:7421 -p "Once upon a time"',
    ],
  })
    .requiredOption("-p, --prompt <text>", "text to go on from")
    .option("-n, --tokens <n>", "tokens to generate at most", (text) => parseInteger(text, "-n", 1), DEFAULT_TOKENS)
    .option("--workers <k>", "local worker processes (default: 1, or the stages of --split)", (text) =>
      parseWorkers(text, "--workers"),
    )
    .option("--reference", "the whole model in this process, without workers")
    .option("--coordinator <host:port>", "a running cluster's coordinator")
    .option("--verify", "run the undivided model over the same schedule and compare tokens, logits and KV, bit for bit")
    .option("--logprobs <n>", "say each token's log-probability and those of the n likeliest (in --json)", (text) =>
      parseInteger(text, "--logprobs", 0, MAX_LOGPROBS),
    )
    .option("--prompt-logprobs <n>", "the same of the prompt's tokens from the second on", (text) =>
      parseInteger(text, "--prompt-logprobs", 0, MAX_LOGPROBS),
    )
    .option("--priority <n>", `larger goes first, -${MAX_PRIORITY} to ${MAX_PRIORITY} (default: 0)`, (text) =>
      parseInteger(text, "--priority", -MAX_PRIORITY, MAX_PRIORITY),
    )
    .option("--deadline <time>", "end with an error when it takes longer, waiting included: 500ms, 30s, 5m", (text) =>
      parseDurationMs(text, "--deadline"),
    );
  addStopOption(addSamplingOptions(addClusterOptions(command))).action(
    (model: string | undefined, options: GenerateOptions) => generate(openContext(host, options), model, options),
  );
}

async function generate(context: CommandContext, model: string | undefined, options: GenerateOptions): Promise<void> {
  checkOptions(model, options);
  const { out } = context;
  const job: GenerateJob = {
    context,
    options,
    sampling: await readSampling(options),
    onText: (text) => out.data(context.host.stdout.isTty ? stripControls(text) : text),
  };
  if (options.coordinator !== undefined) return generateRemotely(job, options.coordinator, model);
  const path = must(model, "model");
  const description = await describeFile(path);
  prepareEngine(context.host.env);
  if (options.reference === true) return generateHere(job, path, description);
  const workers = countWorkers(options);
  const threads = chooseLocalThreads(options.threads, workers);
  const contextTokens = chooseContextTokens(options.context, description.contextLength);
  const check = (tokenizer: Tokenizer): void => void tokenizePrompt(tokenizer, options.prompt, contextTokens);
  const generation = await withLocalCluster(
    { context, model: path, options, threads, workers, check },
    ({ coordinator }) => collectGeneration(coordinator.generate(writeRequest(job), context.signal), job.onText),
  );
  // The workers have ended and given their memory back: the reference needs room for the whole model.
  const parallel = chooseParallel(options.parallel);
  const { sampling } = job;
  await finish(job, generation, {
    modelPath: path,
    sampling,
    maxTokens: options.tokens,
    threads,
    contextTokens,
    parallel,
    maxRows: MAX_ROWS,
  });
}

/** @throws NoodleError `USAGE` for combinations that mean nothing */
function checkOptions(model: string | undefined, options: GenerateOptions): void {
  const { coordinator, reference, verify } = options;
  const wrong = (text: string): never => {
    throw new NoodleError("USAGE", text);
  };
  if (coordinator !== undefined && reference === true) wrong("--coordinator and --reference exclude each other");
  if (model === undefined && coordinator === undefined) wrong("give the model's file, or --coordinator");
  if (model === undefined && verify === true) wrong("--verify needs the model's file here, to run it undivided");
  const ofRequest = OF_REQUEST.find((name) => options[name] !== undefined);
  if (ofRequest !== undefined && reference === true) {
    const flag = ofRequest.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    wrong(`--${flag} needs workers, here or behind --coordinator: leave --reference out`);
  }
  if (options.stop !== undefined && verify === true) wrong("--stop and --verify exclude each other");
  if (options.promptLogprobs !== undefined && verify === true) {
    wrong("--prompt-logprobs and --verify exclude each other");
  }
  if (reference === true && verify === true) wrong("--verify compares with the reference: leave --reference out");
  const set = (names: readonly (keyof ClusterOptions | "workers")[]): string | undefined =>
    names.find((name) => options[name] !== undefined);
  const ofCluster = set(["workers", "split", "threads", "context", "parallel", "unverified", "data"]);
  if (coordinator !== undefined && ofCluster !== undefined) {
    wrong(`--${ofCluster} is the running cluster's own: leave it out with --coordinator`);
  }
  const ofWorkers = set(["workers", "split", "unverified", "data"]);
  if (reference === true && ofWorkers !== undefined) wrong(`--${ofWorkers} means nothing with --reference`);
}

function countWorkers({ workers, split }: GenerateOptions): number {
  return workers ?? split?.split(",").length ?? 1;
}

function writeRequest({ options, sampling }: GenerateJob): GenerateRequest {
  const verify = options.verify === true;
  const { stop, logprobs, promptLogprobs, priority, deadline } = options;
  return {
    prompt: options.prompt,
    maxTokens: options.tokens,
    sampling,
    wantLogits: verify,
    wantKvHashes: verify,
    // What was computed before can't be compared.
    cachePrompt: !verify,
    ...(stop === undefined ? {} : { stop }),
    ...(logprobs === undefined ? {} : { topLogprobs: logprobs }),
    ...(promptLogprobs === undefined ? {} : { promptLogprobs }),
    ...(priority === undefined ? {} : { priority }),
    ...(deadline === undefined ? {} : { deadlineMs: deadline }),
  };
}

async function describeFile(path: string): Promise<ModelDescription> {
  const file = await openGguf(path);
  try {
    return describeModel(file.header, file.fileBytes);
  } finally {
    await file.close();
  }
}

async function generateRemotely(job: GenerateJob, address: string, model: string | undefined): Promise<void> {
  const { context, options, sampling } = job;
  const cluster = new RemoteCluster(
    formatHostPort(parseHostPort(address, "--coordinator")),
    readOperatorSecurity(context.host.env),
  );
  try {
    const status = options.verify === true ? await cluster.status(context.signal) : undefined;
    const threads = status === undefined ? 0 : readClusterThreads(status);
    const generation = await collectGeneration(cluster.generate(writeRequest(job), context.signal), job.onText);
    if (status === undefined) return await finish(job, generation, undefined);
    prepareEngine(context.host.env);
    await finish(job, generation, {
      modelPath: must(model, "model"),
      sampling,
      maxTokens: options.tokens,
      threads,
      contextTokens: status.coordinator.context_tokens,
      parallel: status.coordinator.parallel,
      maxRows: MAX_ROWS,
    });
  } finally {
    cluster.close();
  }
}

async function generateHere(job: GenerateJob, path: string, model: ModelDescription): Promise<void> {
  const { context, options, sampling, onText } = job;
  const generation = await generateUndivided(
    {
      modelPath: path,
      prompt: options.prompt,
      maxTokens: options.tokens,
      sampling,
      threads: options.threads ?? defaultThreads(),
      contextTokens: chooseContextTokens(options.context, model.contextLength),
      parallel: chooseParallel(options.parallel),
      prefillRows: PREFILL_ROWS,
      maxRows: MAX_ROWS,
      unitCount: model.units.length,
    },
    onText,
    context.signal,
  );
  await finish(job, generation, undefined);
}

/** Verifies where it is asked for, and writes what there is to say. */
async function finish(
  { context, options }: GenerateJob,
  generation: Generation,
  conditions: RunConditions | undefined,
): Promise<void> {
  const { out, signal } = context;
  out.line();
  const isVerified = options.verify === true && conditions !== undefined;
  if (isVerified) out.progress.phase("running the undivided model over the same schedule");
  const verification = isVerified ? (await verifyGeneration(generation, conditions, signal)).verification : undefined;
  out.document(
    writeGenerateDocument(generation, verification === undefined ? {} : { verify: writeVerification(verification) }),
  );
  out.note("");
  out.note(renderStageTable(generation));
  out.note(
    `${countNoun(generation.promptTokenIds.length, "prompt token")}, ${generation.tokenIds.length} generated (${generation.finishReason}), first after ${generation.ttftMs.toFixed(0)} ms, then ${generation.decodeTokensPerSec.toFixed(1)} tokens/s`,
  );
  if (verification === undefined) return;
  requireIdentical(verification);
  out.note("identical to the undivided engine: tokens, logits and KV, bit for bit");
}
