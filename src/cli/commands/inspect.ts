import type { Command } from "commander";
import { defaultThreads, probeRowClasses } from "../../engine/index.ts";
import type { RowClasses, RowRule } from "../../schedule/index.ts";
import { openGguf } from "../../gguf/index.ts";
import { describeModel, type ModelDescription } from "../../model/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { prepareEngine } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { writeInspectDocument } from "../inspect-document.ts";
import type { Output } from "../output.ts";
import { formatBytes, formatCount, parseInteger } from "../quantities.ts";
import { renderTable } from "../table.ts";

interface InspectOptions {
  readonly json?: boolean;
  readonly rowClasses?: boolean;
  readonly threads?: number;
}

export function addInspect(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "inspect <model>",
    summary: "list a model's units with their bytes, and where it may be cut",
    examples: ["noodle inspect model.gguf", "noodle inspect model.gguf --row-classes --json"],
  })
    .option("--row-classes", "probe what a row's bits depend on, for this model, engine and CPU")
    .option("--threads <n>", "threads of the probe (default: one for each core)", (text) =>
      parseInteger(text, "--threads", 1, 512),
    )
    .action((model: string, options: InspectOptions) => inspect(openContext(host, options), model, options));
}

async function inspect({ out, host }: CommandContext, path: string, options: InspectOptions): Promise<void> {
  const file = await openGguf(path);
  const model = describeModel(file.header, file.fileBytes);
  await file.close();
  let rowClasses: RowClasses | null = null;
  if (options.rowClasses === true) {
    prepareEngine(host.env);
    rowClasses = await probeRowClasses(path, options.threads ?? defaultThreads());
  }
  out.document(writeInspectDocument(model, rowClasses));
  printModel(out, path, model);
  if (rowClasses !== null) printRowClasses(out, rowClasses);
}

function printModel(out: Output, path: string, model: ModelDescription): void {
  out.line(`${path}: ${model.name ?? "(no name)"}`);
  out.line(
    [
      `${model.architecture} (${model.support})`,
      `${formatCount(model.parameters)} parameters`,
      model.quantization,
      formatBytes(model.fileBytes),
      `${model.blockCount} blocks`,
      `${model.embeddingLength} wide`,
      `vocabulary ${model.vocabSize}`,
      `context ${model.contextLength}`,
      `${model.tiedHead ? "tied" : "own"} head`,
    ].join(", "),
  );
  out.line();
  out.data(
    renderTable(
      [
        { title: "unit", align: "right" },
        { title: "name" },
        { title: "bytes", align: "right" },
        { title: "parameters", align: "right" },
        { title: "attention", align: "right" },
        { title: "mlp", align: "right" },
        { title: "KV/token", align: "right" },
      ],
      model.units.map((unit) => [
        String(unit.index),
        unit.name,
        formatBytes(unit.bytes),
        formatCount(unit.parameters),
        formatBytes(unit.roles.attentionBytes),
        formatBytes(unit.roles.mlpBytes),
        formatBytes(unit.kvBytesPerToken),
      ]),
    ),
  );
  out.line();
  out.line(`legal cuts: ${model.legalCuts.length === 0 ? "none" : model.legalCuts.join(" ")}`);
  for (const { cut, reason } of model.illegalCuts) out.line(`no cut at ${cut}: ${reason}`);
}

function printRowClasses(out: Output, classes: RowClasses): void {
  out.line();
  out.line(
    `row classes (${classes.engine_build}, ${classes.cpu_variant}, ${classes.threads} threads, probed in ${classes.probe_ms.toFixed(0)} ms):`,
  );
  for (const { type, experts, rule } of classes.weights)
    out.line(`  ${type}${experts ? " (experts)" : ""}: ${describeRule(rule)}`);
  const { tiledRows, splitCells } = classes.attention;
  out.line(
    `  attention: ${tiledRows === null ? "the same kernel for every number of rows" : `another kernel from ${tiledRows} rows on`}`,
  );
  out.line(
    `  one row alone: ${splitCells === null ? "never depends on the threads" : `depends on the threads from ${splitCells} cells on`}`,
  );
}

function describeRule(rule: RowRule): string {
  switch (rule.kind) {
    case "uniform":
      return "the same for every number of rows and every place";
    case "rows-at-least":
      return `two classes: fewer than ${rule.rows} rows; ${rule.rows} or more`;
    case "full-groups":
      return `two classes: in a full group of ${rule.group}; in the tail`;
    case "table":
      return "a table of its own (--json shows it)";
  }
}
