import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { addApiTargetOptions, type ApiTargetOptions, chooseModel, withApi } from "../api-target.ts";
import { Chat } from "../chat.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { parseInteger } from "../quantities.ts";
import {
  addApiSamplingOptions,
  addStopOption,
  type SamplingOptions,
  type StopOptions,
  writeApiSampling,
} from "../sampling-options.ts";

interface ChatOptions extends ApiTargetOptions, SamplingOptions, StopOptions {
  readonly json?: boolean;
  readonly modelId?: string;
  readonly system?: string;
  readonly tokens?: number;
}

export function addChat(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "chat [model]",
    summary: "talk with a model in the terminal: of a running cluster, or of a file on this machine",
    examples: [
      "noodle chat",
      "noodle chat model.gguf --workers 2",
      'noodle chat --coordinator http://10.0.0.5:7420 --system "Answer in one sentence."',
    ],
  })
    .option("--model-id <id>", "which of the cluster's models (default: its first)")
    .option("--system <text>", "what the model is told before the conversation")
    .option(
      "-n, --tokens <n>",
      "tokens of an answer at most (default: what fits; 256 without a chat template)",
      (text) => parseInteger(text, "-n", 1, 1 << 24),
    );
  addStopOption(addApiSamplingOptions(addApiTargetOptions(command)))
    .addHelpText(
      "after",
      [
        "",
        "Ctrl-C stops an answer, twice leaves. A \\ at a line's end goes on in the next line. In the chat:",
        "  /reset  /system TEXT (- takes it away)  /save FILE  /stats  /help  /exit",
        "Through a pipe each line is one question, and answers alone go to stdout.",
      ].join("\n"),
    )
    .action((model: string | undefined, options: ChatOptions) => chat(openContext(host, options), model, options));
}

async function chat(context: CommandContext, model: string | undefined, options: ChatOptions): Promise<void> {
  const { host, signal } = context;
  const fields = await writeApiSampling(options);
  const body = { ...fields, ...(options.tokens === undefined ? {} : { max_tokens: options.tokens }) };
  await withApi(context, model, options, async (client) => {
    const { id } = await chooseModel(client, options.modelId, signal);
    // Not before: who reads the keyboard gets its Ctrl-C as well.
    const lines = host.openLines?.();
    if (lines === undefined) throw new NoodleError("ILLEGAL_STATE", "there is no input to read from");
    try {
      await new Chat({ context, client, lines, model: id, system: options.system ?? null, body }).run();
    } finally {
      lines.close();
    }
  });
}
