import { resolve } from "node:path";
import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { defaultThreads } from "../../engine/index.ts";
import { openGguf } from "../../gguf/index.ts";
import {
  describeModel,
  formatRange,
  hashModel,
  parseUnits,
  sourceFromFile,
  type Split,
  type UnitRange,
  writeStage,
} from "../../model/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { prepareEngine } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { formatBytes } from "../quantities.ts";
import { verifySplit } from "../split-verification.ts";

interface CutOptions {
  readonly json?: boolean;
  readonly units: string;
  readonly output: string;
  readonly unverified?: boolean;
}

export function addCut(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "cut <model>",
    summary: "write a range of a model's units as a model file of its own, with a manifest of where it came from",
    examples: ["noodle cut model.gguf --units 0:6 -o stage-0.gguf"],
  })
    .requiredOption("--units <a:b>", "half-open range of units, as `noodle inspect` lists them")
    .requiredOption("-o, --output <file>", "file to write")
    .option("--unverified", "cut an architecture that no test has verified, after a verification here")
    .action((model: string, options: CutOptions) => cut(openContext(host, options), model, options));
}

async function cut({ out, host, signal }: CommandContext, path: string, options: CutOptions): Promise<void> {
  if (resolve(path) === resolve(options.output)) throw new NoodleError("USAGE", "-o names the model itself");
  const file = await openGguf(path);
  try {
    const model = describeModel(file.header, file.fileBytes);
    const units = parseUnits(options.units, model.units.length);
    out.progress.phase(`hashing ${path}`);
    const hashes = await hashModel(file, (done, total) => out.progress.update(done / total), signal);
    if (options.unverified === true && model.support === "unverified") {
      prepareEngine(host.env);
      out.progress.phase("verifying the cut against the undivided engine");
      await verifySplit(file, hashes, splitAround(units, model.units.length), defaultThreads(), signal);
    }
    out.progress.phase(`cutting units ${formatRange(units)}`);
    const written = await writeStage(sourceFromFile(file), file.header, units, options.output, {
      hashes,
      allowUnverified: options.unverified ?? false,
      onProgress: (done, total) => out.progress.update(done / total),
      signal,
    });
    out.document({
      schema: "noodle.cut.v1",
      file: options.output,
      file_bytes: written.bytes,
      units: formatRange(units),
      unit_count: model.units.length,
      sha256: written.sha256,
      source_sha256: hashes.sourceSha256,
    });
    out.line(`${options.output}: units ${formatRange(units)} of ${model.units.length}, ${formatBytes(written.bytes)}`);
  } finally {
    await file.close();
  }
}

/** The split of a model that has these units as one stage, and what lies before and behind as others. */
function splitAround({ first, end }: UnitRange, unitCount: number): Split {
  return [
    { first: 0, end: first },
    { first, end },
    { first: end, end: unitCount },
  ].filter((range) => range.first < range.end);
}
