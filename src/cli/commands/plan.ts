import { createReadStream } from "node:fs";
import { open, rename, writeFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import {
  BASELINE_RULES,
  compareBaselines,
  type ComparisonRow,
  describePlan,
  type Growth,
  openHighs,
  parseProblem,
  planBaseline,
  type PlanDocument,
  planGrowth,
  planProblem,
  PROBLEM_LIMITS,
  type Problem,
} from "../../planner/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import type { Output } from "../output.ts";
import { formatMs, parseDecimal } from "../quantities.ts";
import { renderTable } from "../table.ts";

interface PlanCommandOptions {
  readonly json?: boolean;
  readonly problem: string;
  readonly baseline?: string;
  readonly compare?: boolean;
  readonly timeLimit?: number;
  readonly report?: string;
}

export function addPlan(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "plan",
    summary: "find the best cuts of a planning problem (noodle.problem.v1), with a bound",
    examples: ["noodle plan --problem problem.json", "cat problem.json | noodle plan --problem - --compare --json"],
  })
    .requiredOption("--problem <file>", "the problem as JSON; - reads stdin")
    .option("--baseline <name>", `the plan of another rule instead: ${[...BASELINE_RULES.keys()].join(", ")}`)
    .option("--compare", "add the plans of all baselines, under the same costs")
    .option("--time-limit <s>", "stop with the best found after so long (default: the problem's, or 10)", (text) =>
      parseDecimal(text, "--time-limit", 0, PROBLEM_LIMITS.timeLimitS),
    )
    .option("--report <file>", "write the words and the table to a file, too")
    .action((options: PlanCommandOptions) => plan(openContext(host, options), options));
}

async function plan({ out, host }: CommandContext, options: PlanCommandOptions): Promise<void> {
  const read = parseProblem(await readText(options.problem));
  const problem: Problem = options.timeLimit === undefined ? read : { ...read, time_limit_s: options.timeLimit };
  const solver = openHighs();
  try {
    const settings = { nowMs: () => host.nowMs(), solver };
    const answer =
      options.baseline === undefined
        ? await planProblem(problem, settings)
        : await planBaseline(problem, options.baseline, settings);
    // For a person the question "and one machine more?" is worth the wait.
    const growth = out.json || options.baseline !== undefined ? [] : await planGrowth(problem, answer, settings);
    const comparison = options.compare === true ? compareBaselines(problem, answer) : null;
    out.document({ ...answer, ...(comparison === null ? {} : { comparison }) });
    const text = renderAnswer(problem, answer, growth, comparison);
    out.data(text);
    if (options.report !== undefined) await writeReport(out, options.report, text);
  } finally {
    await solver.close();
  }
}

function renderAnswer(
  problem: Problem,
  answer: PlanDocument,
  growth: readonly Growth[],
  comparison: readonly ComparisonRow[] | null,
): string {
  const words = describePlan(problem, answer, growth).join("\n");
  const stages = answer.feasible ? `\n${renderStages(answer)}` : "";
  const others = comparison === null ? "" : `\n${renderComparison(answer, comparison)}`;
  const bound = answer.bound_nodes === undefined ? formatMs(answer.bound_ms) : `${answer.bound_nodes} nodes`;
  const foot = `${answer.algorithm}, ${answer.solve_ms.toFixed(0)} ms, bound ${bound}`;
  return `${words}\n${stages}\n${foot}\n${others}`;
}

function renderStages(answer: PlanDocument): string {
  return renderTable(
    [
      { title: "stage", align: "right" },
      { title: "nodes" },
      { title: "units" },
      { title: "ms", align: "right" },
      { title: "MB", align: "right" },
    ],
    answer.stages.map((stage, index) => [
      stage.pipeline === undefined ? String(index) : `${stage.pipeline}.${index}`,
      stage.nodes.join(" + "),
      `${stage.first}:${stage.end}`,
      formatMs(stage.ms),
      (stage.bytes / 1e6).toFixed(1),
    ]),
  );
}

function renderComparison(answer: PlanDocument, rows: readonly ComparisonRow[]): string {
  const ours = [
    "noodle",
    formatMs(answer.period_ms),
    formatMs(answer.latency_ms),
    String(answer.nodes ?? "-"),
    "1.000",
    "",
  ];
  return renderTable(
    [
      { title: "plan" },
      { title: "period ms", align: "right" },
      { title: "latency ms", align: "right" },
      { title: "nodes", align: "right" },
      { title: "/ ours", align: "right" },
      { title: "cannot run because" },
    ],
    [
      ours,
      ...rows.map((row) => [
        row.name,
        formatMs(row.figures?.period_ms ?? null),
        formatMs(row.figures?.latency_ms ?? null),
        String(row.figures?.nodes ?? "-"),
        row.ratio === null ? "-" : row.ratio.toFixed(3),
        row.reason ?? "",
      ]),
    ],
  );
}

/** Reads a file or stdin, never more than a problem may have. */
async function readText(path: string): Promise<string> {
  const input: Readable = path === "-" ? process.stdin : createReadStream(path);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of input) {
    const buffer = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
    bytes += buffer.length;
    if (bytes > PROBLEM_LIMITS.textBytes) {
      throw new NoodleError("PROBLEM_TOO_LARGE", `${path} has more than ${PROBLEM_LIMITS.textBytes} bytes`);
    }
    chunks.push(buffer);
  }
  return Buffer.concat(chunks).toString("utf8");
}

async function writeReport(out: Output, path: string, text: string): Promise<void> {
  const temporary = `${path}.tmp`;
  await writeFile(temporary, text);
  const file = await open(temporary);
  await file.sync();
  await file.close();
  await rename(temporary, path);
  out.note(`wrote ${path}`);
}
