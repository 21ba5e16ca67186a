import { createReadStream } from "node:fs";
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
import type { PlacementObjective } from "../../placement/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import type { Output } from "../output.ts";
import { type PlanModelOptions, planForModel } from "../plan-model.ts";
import { formatMs, parseDecimal, parseInteger } from "../quantities.ts";
import { renderTable } from "../table.ts";
import { writeWhole } from "../write-whole.ts";

interface PlanCommandOptions extends Omit<PlanModelOptions, "objective"> {
  readonly json?: boolean;
  readonly problem?: string;
  readonly objective?: PlacementObjective;
  readonly replicas?: number;
}

/** What says something about a model's run, and nothing about an abstract problem. */
const MODEL_ONLY: readonly (keyof PlanCommandOptions)[] = [
  "cluster",
  "coordinator",
  "streams",
  "context",
  "promptTokens",
  "deterministic",
  "strict",
  "everyNode",
];

const OBJECTIVES: Readonly<Record<string, PlacementObjective>> = {
  throughput: "throughput",
  latency: "latency",
  pareto: "pareto",
  "fewest-nodes": "fewest_nodes",
};

export function addPlan(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "plan [model]",
    summary: "find where to cut a model on unequal machines, with a bound and a prediction",
    examples: [
      "noodle plan model.gguf --cluster cluster.yaml --streams 16 --context 4096",
      "noodle plan model.gguf --coordinator 10.0.0.5:7421 --profile desk=run/profile.json -o plan.json",
      "noodle plan model.gguf --cluster cluster.yaml --objective latency --compare --report plan.html",
      "noodle plan --problem problem.json --compare --json",
    ],
  })
    .option("--cluster <file>", "cluster.yaml: nodes, profiles, virtual nodes, links (docs/cluster.md)")
    .option("--coordinator <host:port>", "plan for the nodes of a running cluster; links from --cluster if given")
    .option(
      "--profile <node=file>",
      "profile of a node (or a folder with profile.json); without node= of all that have none; repeatable",
      (text: string, before: readonly string[]) => [...before, text],
      [] as readonly string[],
    )
    .option(
      "--objective <goal>",
      `what to make best: ${Object.keys(OBJECTIVES).join(", ")} (default: throughput, or the problem's)`,
      readObjective,
    )
    .option("--streams <n>", "sequences that decode at once (default: the coordinator's, or 8)", (text) =>
      parseInteger(text, "--streams", 1, 65_536),
    )
    .option("--context <n>", "tokens of each stream (default: the coordinator's, or 4096)", (text) =>
      parseInteger(text, "--context", 2, 2 ** 24),
    )
    .option("--prompt-tokens <n>", "prompt whose first token is predicted (default: 128)", (text) =>
      parseInteger(text, "--prompt-tokens", 1, 2 ** 24),
    )
    .option("--deterministic", "decode in whole row-class blocks, so that bits do not depend on what runs beside")
    .option("--strict", "refuse a profile of another machine, build or model instead of noting it")
    .option("-o, --output <file>", "write the plan as JSON (noodle.model_plan.v1)")
    .option("--problem <file>", "instead of a model an abstract problem as JSON (noodle.problem.v1); - reads stdin")
    .option("--baseline <name>", `the plan of another rule instead: ${[...BASELINE_RULES.keys()].join(", ")}`)
    .option("--every-node", "give every node a stage, also where that is no gain")
    .option("--replicas <n>", "of a problem: up to so many nodes serve a stage together", (text) =>
      parseInteger(text, "--replicas", 1, PROBLEM_LIMITS.replicas),
    )
    .option("--compare", "add the plans of all baselines, under the same costs")
    .option("--time-limit <s>", "stop with the best found after so long (default: the problem's, or 10)", (text) =>
      parseDecimal(text, "--time-limit", 0, PROBLEM_LIMITS.timeLimitS),
    )
    .option("--report <file>", "write the words and the tables to a file, too; of a model also as .html")
    .action((model: string | undefined, options: PlanCommandOptions) =>
      plan(openContext(host, options), model, options),
    );
}

function readObjective(text: string): PlacementObjective {
  const objective = Object.hasOwn(OBJECTIVES, text) ? OBJECTIVES[text] : undefined;
  if (objective !== undefined) return objective;
  throw new NoodleError("USAGE", `--objective "${text}" is none of ${Object.keys(OBJECTIVES).join(", ")}`);
}

async function plan(context: CommandContext, model: string | undefined, options: PlanCommandOptions): Promise<void> {
  const { problem } = options;
  if ((model === undefined) === (problem === undefined)) {
    throw new NoodleError("USAGE", "give a model with --cluster or --coordinator, or --problem; not both");
  }
  if (options.baseline !== undefined && !BASELINE_RULES.has(options.baseline)) {
    const names = [...BASELINE_RULES.keys()].join(", ");
    throw new NoodleError("USAGE", `there is no baseline "${options.baseline}"; there are ${names}`);
  }
  if (model !== undefined) {
    if ((options.replicas ?? 1) > 1) {
      throw new NoodleError(
        "USAGE",
        `--replicas ${options.replicas}: a stage of a model runs on one node in this release; replicas are planned for a --problem alone`,
      );
    }
    return planForModel(context, model, { ...options, objective: options.objective ?? "throughput" });
  }
  const foreign = MODEL_ONLY.find((name) => options[name] !== undefined);
  if (foreign !== undefined || options.profile.length > 0) {
    const name = (foreign ?? "profile").replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new NoodleError("USAGE", `--${name} goes with a model; a problem's file says all there is to know`);
  }
  if (options.report !== undefined && /\.html?$/i.test(options.report)) {
    throw new NoodleError("USAGE", `--report ${options.report}: of a problem there are words alone; name a .txt file`);
  }
  if (problem !== undefined) return planProblemFile(context, problem, options);
}

async function planProblemFile(
  { out, host }: CommandContext,
  path: string,
  options: PlanCommandOptions,
): Promise<void> {
  const problem = changeProblem(parseProblem(await readText(path)), options);
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
    const document = { ...answer, ...(comparison === null ? {} : { comparison }) };
    out.document(document);
    const text = renderAnswer(problem, answer, growth, comparison);
    out.data(text);
    if (options.output !== undefined) await writeResult(out, options.output, `${JSON.stringify(document, null, 2)}\n`);
    if (options.report !== undefined) await writeResult(out, options.report, text);
  } finally {
    await solver.close();
  }
}

function changeProblem(problem: Problem, { objective, replicas, timeLimit }: PlanCommandOptions): Problem {
  return {
    ...problem,
    ...(objective === undefined ? {} : { objective: objective === "throughput" ? "period" : objective }),
    ...(replicas === undefined ? {} : { replicas }),
    ...(timeLimit === undefined ? {} : { time_limit_s: timeLimit }),
  };
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

async function writeResult(out: Output, path: string, text: string): Promise<void> {
  await writeWhole(path, text);
  out.note(`wrote ${path}`);
}
