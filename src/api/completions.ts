import type { GenerateEvent } from "../cluster/coordinator/index.ts";
import { must, NoodleError } from "../common/index.ts";
import { giveTurn } from "./give-turn.ts";
import { runGenerations } from "./generations.ts";
import { chooseGrammar } from "./grammars.ts";
import { type LegacyLogprobs, LegacyLogprobsBuilder } from "./logprobs.ts";
import type { ModelEntry } from "./model-registry.ts";
import { chooseMaxTokens, type ReadPrompt, readPrompts } from "./prompts.ts";
import {
  makeGeneration,
  makeHead,
  type RequestContext,
  requireLogprobRoom,
  wantsUsageChunk,
  writeResponse,
} from "./request-context.ts";
import { chooseSampling } from "./sampling.ts";
import type { CompletionRequest } from "./schemas/completions.ts";
import { describeTimings, describeUsage, type Finished } from "./timings.ts";

/** As OpenAI's. */
const DEFAULT_MAX_TOKENS = 16;
/** Prompt tokens whose log-probabilities are written before the event loop gets a turn. */
const TURN_TOKENS = 256;

/**
 * POST /v1/completions.
 *
 * @returns the JSON of the response; undefined where it went out as a stream
 */
export async function complete(context: RequestContext, body: CompletionRequest): Promise<string | undefined> {
  requireSupported(body);
  const entry = context.registry.find(body.model);
  const { model } = entry;
  const options = { addSpecial: body.add_special_tokens ?? true, parseSpecial: body.parse_special ?? true };
  const prompts = await readPrompts(model, body.prompt, options, context.limits.prompts);
  const choices = body.n ?? 1;
  const echo = body.echo ?? false;
  const topLogprobs = body.logprobs ?? null;
  const sampling = chooseSampling(model, body, await chooseGrammar(context, body));
  const requests = prompts.flatMap(({ tokenIds }) => {
    const maxTokens = chooseMaxTokens(model, tokenIds.length, body.max_tokens ?? null, DEFAULT_MAX_TOKENS);
    const parts = { prompt: tokenIds, maxTokens, topLogprobs, promptLogprobs: echo ? topLogprobs : null };
    return Array.from({ length: choices }, (_, choice) =>
      makeGeneration(context, body, { ...parts, sampling: sampling(choice) }),
    );
  });
  const tokens = requests.map(({ prompt, maxTokens }) => maxTokens + (echo ? prompt.length : 0));
  requireLogprobRoom(
    context.limits,
    tokens.reduce((total, count) => total + count, 0),
    topLogprobs,
  );
  const texts = await Promise.all(prompts.map(async (prompt) => (echo ? readText(entry, prompt) : "")));
  const outputs = requests.map((_, index) => {
    const place = Math.floor(index / choices);
    const start = { tokenIds: must(prompts[place], "prompt").tokenIds, text: texts[place] ?? "", echo };
    return new CompletionChoice(entry, index, start, topLogprobs !== null);
  });
  const run = { model, requests, choices, atOnce: context.limits.generationsAtOnce, signal: context.signal };
  return body.stream === true
    ? streamCompletion(context, body, { ...run, outputs })
    : answerCompletion(body, { ...run, outputs });
}

type CompletionRun = Omit<Parameters<typeof runGenerations>[0], "onEvent"> & {
  readonly outputs: readonly CompletionChoice[];
};

async function answerCompletion(body: CompletionRequest, run: CompletionRun): Promise<string> {
  const { outputs } = run;
  const head = makeHead("cmpl-", "text_completion", run.model.id);
  const finished = await runGenerations({
    ...run,
    onEvent: (choice, event) => must(outputs[choice], "choice").take(event),
  });
  const choices = outputs.map((output, index) => output.piece(must(finished[index], "end").done.finishReason));
  return writeResponse(head, choices, { usage: describeUsage(finished, run.choices), ...timingsOf(body, finished) });
}

async function streamCompletion(
  context: RequestContext,
  body: CompletionRequest,
  run: CompletionRun,
): Promise<undefined> {
  const { outputs } = run;
  const head = makeHead("cmpl-", "text_completion", run.model.id);
  const withUsage = wantsUsageChunk(body);
  const noUsage = withUsage ? { usage: null } : {};
  const stream = context.startStream();
  const promptTokens = run.requests.map(({ prompt }) => prompt.length);
  const finished = await runGenerations({
    ...run,
    onEvent: async (choice, event) => {
      const output = must(outputs[choice], "choice");
      if (event.type === "started") stream.open();
      await output.take(event);
      if (event.type === "done") {
        const ended = [{ promptTokens: promptTokens[choice] ?? 0, done: event }];
        const last = output.piece(event.finishReason);
        await stream.send({ ...head, choices: [last], ...noUsage, ...timingsOf(body, ended) });
      } else if (output.hasNews) {
        await stream.send({ ...head, choices: [output.piece(null)], ...noUsage });
      }
    },
  });
  if (withUsage) await stream.send({ ...head, choices: [], usage: describeUsage(finished, run.choices) });
  await stream.send("[DONE]");
  stream.end();
}

/** One choice's text and log-probabilities, as they come. */
class CompletionChoice {
  readonly #index: number;
  readonly #prompt: { readonly tokenIds: readonly number[]; readonly text: string; readonly echo: boolean };
  readonly #logprobs: LegacyLogprobsBuilder | null;
  #text = "";
  #entries = 0;

  constructor(
    entry: ModelEntry,
    index: number,
    prompt: { readonly tokenIds: readonly number[]; readonly text: string; readonly echo: boolean },
    withLogprobs: boolean,
  ) {
    this.#index = index;
    this.#prompt = prompt;
    this.#logprobs = withLogprobs ? new LegacyLogprobsBuilder(entry.texts, prompt.text) : null;
  }

  get hasNews(): boolean {
    return this.#text !== "" || this.#entries > 0;
  }

  async take(event: GenerateEvent): Promise<void> {
    const { tokenIds, text, echo } = this.#prompt;
    if (event.type === "started" && echo) {
      this.#text = text;
      this.#add(must(tokenIds[0], "token"), null);
    } else if (event.type === "prompt" && echo) {
      for (const [at, logprobs] of event.logprobs.entries()) {
        this.#add(logprobs.tokenId, logprobs);
        if (at % TURN_TOKENS === TURN_TOKENS - 1) await giveTurn();
      }
    } else if (event.type === "token") {
      this.#text += event.text;
      if (event.logprobs !== null) this.#add(event.tokenId, event.logprobs);
    }
  }

  #add(tokenId: number, logprobs: Parameters<LegacyLogprobsBuilder["add"]>[1]): void {
    this.#logprobs?.add(tokenId, logprobs);
    this.#entries += this.#logprobs === null ? 0 : 1;
  }

  /** What has come since the last call. */
  piece(finishReason: "stop" | "length" | null): CompletionPiece {
    const logprobs = this.#logprobs?.take() ?? null;
    const piece = { index: this.#index, text: this.#text, logprobs, finish_reason: finishReason };
    this.#text = "";
    this.#entries = 0;
    return piece;
  }
}

interface CompletionPiece {
  readonly index: number;
  readonly text: string;
  readonly logprobs: LegacyLogprobs | null;
  readonly finish_reason: "stop" | "length" | null;
}

function timingsOf(body: CompletionRequest, finished: readonly Finished[]): object {
  return body.timings === false ? {} : { timings: describeTimings(finished) };
}

async function readText(entry: ModelEntry, prompt: ReadPrompt): Promise<string> {
  return prompt.text ?? (await entry.texts.detokenize(prompt.tokenIds, false));
}

/** @throws NOT_SUPPORTED */
function requireSupported(body: CompletionRequest): void {
  const refuse = (param: string, why: string): never => {
    throw new NoodleError("NOT_SUPPORTED", why, { details: { param } });
  };
  if ((body.suffix ?? "") !== "") refuse("suffix", "suffix: text can't be filled in before a suffix");
  if ((body.best_of ?? 1) !== 1) refuse("best_of", `best_of is ${body.best_of}, only 1 is there: use n`);
}
