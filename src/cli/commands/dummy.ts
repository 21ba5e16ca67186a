import type { Command } from "commander";
import { ARCHITECTURES, DUMMY_SHAPES, type DummyOptions, generateDummy } from "../../model/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { formatBytes, parseInteger } from "../quantities.ts";

interface DummyCommandOptions extends Omit<DummyOptions, "architecture" | "contextLength"> {
  readonly json?: boolean;
  readonly context?: number;
  readonly output: string;
}

/** Range checks are the generator's own: it names option and limit. */
function readCount(option: string): (text: string) => number {
  return (text) => parseInteger(text, option, 0);
}

export function addDummy(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "dummy [architecture]",
    summary: "write a model of random weights with a working tokenizer; the same seed gives the same bytes",
    examples: [
      "noodle dummy llama --layers 8 --embd 512 -o tiny.gguf",
      "noodle dummy --like llama-1b --type q4_0 -o dummy-1b.gguf",
    ],
  })
    .requiredOption("-o, --output <file>", "file to write")
    .option("--like <shape>", `a known shape: ${[...DUMMY_SHAPES.keys()].join(", ")}`)
    .option("--layers <n>", "blocks", readCount("--layers"))
    .option("--embd <n>", "width of the hidden state", readCount("--embd"))
    .option("--heads <n>", "attention heads", readCount("--heads"))
    .option("--kv-heads <n>", "heads of keys and values", readCount("--kv-heads"))
    .option("--head-size <n>", "width of a head (default: width / heads)", readCount("--head-size"))
    .option("--ff <n>", "width of the feed-forward part, of one expert where there are experts", readCount("--ff"))
    .option("--vocab <n>", "tokens in the vocabulary", readCount("--vocab"))
    .option("--experts <n>", "experts, 0 = dense", readCount("--experts"))
    .option("--tied", "no output matrix of its own")
    .option("--no-tied", "an output matrix of its own")
    .option("--context <tokens>", "context that the model says it was trained for", readCount("--context"))
    .option(
      "--sliding-window <tokens>",
      "window of the sliding layers, for architectures that have them",
      readCount("--sliding-window"),
    )
    .option("--type <type>", "weight type, for example f16, q8_0, q4_k_m (default: q4_0)")
    .option("--seed <n>", "of the weights (default: 0)", readCount("--seed"))
    .addHelpText("after", `\nArchitectures: ${[...ARCHITECTURES.keys()].join(", ")}.`)
    .action((architecture: string | undefined, options: DummyCommandOptions) =>
      writeDummy(openContext(host, options), architecture, options),
    );
}

async function writeDummy(
  { out, signal }: CommandContext,
  architecture: string | undefined,
  options: DummyCommandOptions,
): Promise<void> {
  const { output, json: _json, context, ...shape } = options;
  out.progress.phase(`writing ${output}`);
  const written = await generateDummy(
    {
      ...shape,
      ...(architecture === undefined ? {} : { architecture }),
      ...(context === undefined ? {} : { contextLength: context }),
    },
    output,
    { onProgress: (done, total) => out.progress.update(done / total), signal },
  );
  out.document({ schema: "noodle.dummy.v1", file: output, file_bytes: written.bytes, sha256: written.sha256 });
  out.line(`${output}: ${formatBytes(written.bytes)}`);
}
