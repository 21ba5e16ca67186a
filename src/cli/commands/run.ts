import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { openGguf } from "../../gguf/index.ts";
import { chooseModel } from "../api-target.ts";
import { ApiClient } from "../api-client.ts";
import { addClusterOptions, type ClusterOptions, parseWorkers } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { stripControls } from "../plain-text.ts";
import { parseInteger } from "../quantities.ts";
import {
  addApiSamplingOptions,
  addStopOption,
  type SamplingOptions,
  type StopOptions,
  writeApiSampling,
} from "../sampling-options.ts";
import { describeAnswer, streamAnswer, TEXT_TOKENS } from "../streamed-answer.ts";

interface RunOptions extends ClusterOptions, SamplingOptions, StopOptions {
  readonly json?: boolean;
  readonly workers?: number;
  readonly system?: string;
  readonly completion?: boolean;
  readonly tokens?: number;
}

const MAX_PROMPT_CHARS = 1024 * 1024;

export function addRun(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "run <model> [prompt]",
    summary: "answer one prompt with a model on this machine and leave; without a prompt it is read from stdin",
    examples: [
      'noodle run model.gguf "What is a noodle?"',
      'noodle run model.gguf "What is a noodle?" --workers 2 --system "Answer in one sentence." --temperature 0',
      'noodle run model.gguf "Once upon a time" --completion -n 64 --json',
    ],
  })
    .option("--workers <k>", "worker processes (default: 1, or the stages of --split)", (text) =>
      parseWorkers(text, "--workers"),
    )
    .option("--system <text>", "what the model is told before the prompt")
    .option("--completion", "go on with the text as it is; so it does for a model without a chat template")
    .option("-n, --tokens <n>", "tokens of the answer at most (default: what fits; 256 for a completion)", (text) =>
      parseInteger(text, "-n", 1, 1 << 24),
    );
  addStopOption(addApiSamplingOptions(addClusterOptions(command))).action(
    (model: string, prompt: string | undefined, options: RunOptions) =>
      answer(openContext(host, options), model, prompt, options),
  );
}

async function answer(
  context: CommandContext,
  model: string,
  given: string | undefined,
  options: RunOptions,
): Promise<void> {
  const { host, out, signal } = context;
  const fields = await writeApiSampling(options);
  const isChat = options.completion !== true && (await hasTemplate(model));
  if (!isChat && options.system !== undefined) {
    throw new NoodleError("USAGE", "--system needs a chat: the model has no template for it, or --completion is given");
  }
  const prompt = given ?? (await readPrompt(host));
  // Before anything is started; an unset variable of a script comes as an empty argument.
  if (prompt.trim() === "") throw new NoodleError("PROMPT_EMPTY", "the prompt is empty");
  const system = options.system === undefined ? [] : [{ role: "system", content: options.system }];
  const what = isChat
    ? { messages: [...system, { role: "user", content: prompt }] }
    : { prompt, max_tokens: TEXT_TOKENS };
  const workers = options.workers ?? options.split?.split(",").length ?? 1;
  const { withLocalApi } = await import("../local-api.ts");
  const { streamed, id } = await withLocalApi({ context, model, options, workers }, async (url) => {
    const client = new ApiClient(url);
    try {
      const chosen = await chooseModel(client, undefined, signal);
      const body = {
        ...fields,
        ...what,
        model: chosen.id,
        ...(options.tokens === undefined ? {} : { max_tokens: options.tokens }),
      };
      const path = isChat ? "v1/chat/completions" : "v1/completions";
      const onText = (text: string): void => out.data(host.stdout.isTty ? stripControls(text) : text);
      const result = await streamAnswer({ client, path, body, onText, nowMs: () => host.nowMs() }, signal);
      return { streamed: result, id: chosen.id };
    } finally {
      client.close();
    }
  });
  signal.throwIfAborted();
  out.line();
  out.document({
    schema: "noodle.run.v1",
    model: id,
    kind: isChat ? "chat" : "completion",
    text: streamed.text,
    finish_reason: streamed.finishReason,
    prompt_tokens: streamed.promptTokens,
    completion_tokens: streamed.completionTokens,
    ttft_ms: streamed.ttftMs,
    tokens_per_sec: streamed.tokensPerSec,
    timings: streamed.timings,
  });
  out.note(describeAnswer(streamed));
}

/** @throws NoodleError the errors of the model's file */
async function hasTemplate(path: string): Promise<boolean> {
  const file = await openGguf(path);
  try {
    return file.header.metadata.has("tokenizer.chat_template");
  } finally {
    await file.close();
  }
}

async function readPrompt(host: CliHost): Promise<string> {
  const lines = host.openLines?.();
  if (lines === undefined || lines.isTty) {
    lines?.close();
    throw new NoodleError("PROMPT_EMPTY", "give a prompt, or send one through a pipe");
  }
  const read: string[] = [];
  let chars = 0;
  for (let line = await lines.next(""); line !== null; line = await lines.next("")) {
    chars += line.length + 1;
    if (chars > MAX_PROMPT_CHARS) {
      throw new NoodleError("LIMIT_EXCEEDED", `the prompt has more than ${MAX_PROMPT_CHARS} characters`);
    }
    read.push(line);
  }
  lines.close();
  return read.join("\n");
}
