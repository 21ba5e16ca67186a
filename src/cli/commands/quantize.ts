import { resolve } from "node:path";
import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { defaultThreads, isQuantizeType, QUANTIZE_TYPES } from "../../engine/index.ts";
import { openGguf } from "../../gguf/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { readTrustedEngineOptions } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { formatBytes, parseInteger } from "../quantities.ts";
import { quantizeInChild } from "../quantize-child.ts";

interface QuantizeOptions {
  readonly json?: boolean;
  readonly type: string;
  readonly output: string;
  readonly threads?: number;
}

export function addQuantize(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "quantize <model>",
    summary: "write a model again with another weight type, through the engine's quantiser",
    examples: ["noodle quantize model-f16.gguf --type q8_0 -o model-q8_0.gguf"],
  })
    .requiredOption("-t, --type <type>", `weight type: ${Object.keys(QUANTIZE_TYPES).join(", ")}`)
    .requiredOption("-o, --output <file>", "file to write")
    .option("--threads <n>", "threads (default: one for each core)", (text) => parseInteger(text, "--threads", 1, 512))
    .action((model: string, options: QuantizeOptions) => quantize(openContext(host, options), model, options));
}

async function quantize({ out, host, signal }: CommandContext, model: string, options: QuantizeOptions): Promise<void> {
  const { type } = options;
  if (!isQuantizeType(type)) {
    throw new NoodleError("USAGE", `--type "${type}" is none of ${Object.keys(QUANTIZE_TYPES).join(", ")}`);
  }
  if (resolve(model) === resolve(options.output)) throw new NoodleError("USAGE", "-o names the model itself");
  // The engine aborts the process on some damaged headers: ours is read first.
  const source = await openGguf(model);
  const sourceBytes = source.fileBytes;
  await source.close();
  out.progress.phase(`quantising ${model} to ${type}`);
  const job = { input: model, output: options.output, type, threads: options.threads ?? defaultThreads() };
  const written = await quantizeInChild({ ...job, engine: readTrustedEngineOptions(host.env) }, signal);
  out.document({
    schema: "noodle.quantize.v1",
    file: options.output,
    type,
    source_bytes: sourceBytes,
    file_bytes: written.bytes,
  });
  out.line(`${options.output}: ${formatBytes(written.bytes)} (from ${formatBytes(sourceBytes)})`);
}
