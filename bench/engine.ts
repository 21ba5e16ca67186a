import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { GREEDY, openStage, type Stage, StageChain } from "../src/engine/index.ts";
import { BareLoop, type LoopSpeed } from "./bare-loop.ts";
import type { BareLoopOrder } from "./bare-loop-main.ts";
import { BenchCluster } from "./cluster.ts";
import { median } from "../src/common/index.ts";
import { type BenchContext, compare, type Sample } from "./lib.ts";
import { makePrompt, prepareModel, prepareStage } from "./models.ts";

const PROMPT_ROWS = 256;
const TOKENS = 48;
const CONTEXT_TOKENS = 1024;

/** Figure 1: one undivided worker (real processes, gRPC) beside a bare loop on the same library. */
export async function benchWorker(context: BenchContext): Promise<void> {
  const bench = "worker";
  const model = await prepareModel(context);
  const threads = cpus().length;
  const samples: Sample[] = [];
  const record = (subject: string, metric: string, value: number, repetition: number): void => {
    const sample = { bench, subject, metric, unit: "tokens_per_sec", value, repetition };
    samples.push(sample);
    context.record(sample);
  };
  const cluster = await BenchCluster.start(model, { workers: 1, threads, contextTokens: CONTEXT_TOKENS, parallel: 1 });
  const bare = await BareLoopProcess.start(model, threads);
  try {
    for (let repetition = -1; repetition < context.repetitions; repetition++) {
      const prompt = makePrompt(PROMPT_ROWS, repetition);
      const loop = await bare.run({ prompt: [...prompt], count: TOKENS });
      const done = await cluster.generate(prompt, TOKENS);
      if (repetition < 0) continue; // warm-up
      record("bare-loop", "decode", loop.decodeTokensPerSec, repetition);
      record("bare-loop", "prefill", loop.prefillTokensPerSec, repetition);
      record("one-worker", "decode", done.decodeTokensPerSec, repetition);
      record("one-worker", "prefill", PROMPT_ROWS / (done.ttftMs / 1000), repetition);
    }
    for (const metric of ["decode", "prefill"])
      compare(context, samples, { bench, metric, subject: "one-worker", baseline: "bare-loop" }, { least: 0.97 });
    await compareLlamaBench(context, samples, cluster, model, threads);
  } finally {
    bare.close();
    await cluster.close();
  }
}

interface LlamaBenchRow {
  readonly n_prompt: number;
  readonly avg_ts: number;
}

class BareLoopProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(model: string, threads: number): Promise<BareLoopProcess> {
    const entry = fileURLToPath(new URL("bare-loop-main.ts", import.meta.url));
    const child = fork(entry, [model, String(threads), String(CONTEXT_TOKENS)], { execArgv: ["--import", "tsx"] });
    await once(child, "message");
    return new BareLoopProcess(child);
  }

  async run(order: BareLoopOrder): Promise<LoopSpeed> {
    this.#child.send(order);
    const [speed] = (await once(this.#child, "message")) as [LoopSpeed];
    return speed;
  }

  close(): void {
    this.#child.disconnect();
  }
}

/** The release's own benchmark program, where the user has built it: NOODLE_LLAMA_BENCH names it. */
async function compareLlamaBench(
  context: BenchContext,
  samples: Sample[],
  cluster: BenchCluster,
  model: string,
  threads: number,
): Promise<void> {
  const program = process.env["NOODLE_LLAMA_BENCH"];
  if (program === undefined) {
    context.log("llama-bench: skipped, NOODLE_LLAMA_BENCH does not name it");
    return;
  }
  const bench = "worker";
  for (let repetition = 0; repetition < context.repetitions; repetition++) {
    const rows: LlamaBenchRow[] = [];
    // Decoding at the depth that our tokens have, behind as many prompt tokens.
    for (const test of [`-p ${PROMPT_ROWS} -n 0`, `-p 0 -n ${TOKENS} -d ${PROMPT_ROWS}`]) {
      const args = ["-m", model, ...test.split(" "), "-t", String(threads), "-r", "1", "-o", "json"];
      const { stdout } = await promisify(execFile)(program, args);
      rows.push(...(JSON.parse(stdout) as LlamaBenchRow[]));
    }
    const done = await cluster.generate(makePrompt(PROMPT_ROWS, 100 + repetition), TOKENS);
    for (const row of rows) {
      const metric = row.n_prompt > 0 ? "prefill-beside-llama-bench" : "decode-beside-llama-bench";
      const ours = row.n_prompt > 0 ? PROMPT_ROWS / (done.ttftMs / 1000) : done.decodeTokensPerSec;
      for (const [subject, value] of [
        ["llama-bench", row.avg_ts],
        ["one-worker", ours],
      ] as const) {
        const sample = { bench, subject, metric, unit: "tokens_per_sec", value, repetition };
        samples.push(sample);
        context.record(sample);
      }
    }
  }
  for (const metric of ["decode-beside-llama-bench", "prefill-beside-llama-bench"]) {
    compare(context, samples, { bench, metric, subject: "one-worker", baseline: "llama-bench" }, { least: 0.94 });
  }
}

/** Figure 2: two stages in one process beside the undivided model, token by token in turns; and what capturing costs. */
export async function benchStages(context: BenchContext): Promise<void> {
  const bench = "stages";
  const model = await prepareModel(context);
  const config = { contextTokens: CONTEXT_TOKENS, parallel: 1, threads: cpus().length };
  const end = 18;
  const whole = await openStage({ stageFile: model, ...config });
  const chain = new StageChain([
    await openStage({ stageFile: await prepareStage(context, model, { first: 0, end: 9 }), ...config }),
    await openStage({ stageFile: await prepareStage(context, model, { first: 9, end }), ...config }),
  ]);
  const samples: Sample[] = [];
  try {
    for (let repetition = -1; repetition < context.repetitions; repetition++) {
      const runners: [string, Pick<Stage, "openSlot" | "forward">][] = [
        ["undivided", whole],
        ["two-stages", chain],
      ];
      const times = await decodeInTurns(runners, repetition);
      if (repetition < 0) continue;
      for (const [subject, value] of times) {
        const sample = { bench, subject, metric: "time-per-token", unit: "ms", value, repetition };
        samples.push(sample);
        context.record(sample);
      }
    }
    compare(
      context,
      samples,
      { bench, metric: "time-per-token", subject: "two-stages", baseline: "undivided" },
      { most: 1.03 },
    );
  } finally {
    whole.close();
    chain.close();
  }
}

/** What the callback behind every captured hidden state costs: it is called for each graph node. */
export async function benchCapture(context: BenchContext): Promise<void> {
  const bench = "capture";
  const model = await prepareModel(context);
  const threads = cpus().length;
  const plain = new BareLoop(model, { threads, contextTokens: CONTEXT_TOKENS });
  const watched = new BareLoop(model, { threads, contextTokens: CONTEXT_TOKENS, capture: true });
  const samples: Sample[] = [];
  try {
    for (let repetition = -1; repetition < context.repetitions; repetition++) {
      const prompt = makePrompt(32, repetition);
      const subjects = [
        ["plain", plain],
        ["watched", watched],
      ] as const;
      const times = new Map<string, number[]>(subjects.map(([name]) => [name, []]));
      const tokens = new Map(subjects.map(([name, loop]) => [name, loop.begin(prompt)]));
      for (let i = 0; i < TOKENS; i++) {
        for (const [name, loop] of subjects) {
          const start = performance.now();
          tokens.set(name, loop.step(Int32Array.of(tokens.get(name) ?? 0)));
          times.get(name)?.push(performance.now() - start);
        }
      }
      if (repetition < 0) continue;
      for (const [subject, values] of times) {
        const sample = { bench, subject, metric: "time-per-token", unit: "ms", value: median(values), repetition };
        samples.push(sample);
        context.record(sample);
      }
    }
    compare(
      context,
      samples,
      { bench, metric: "time-per-token", subject: "watched", baseline: "plain" },
      { most: 1.01 },
    );
  } finally {
    plain.close();
    watched.close();
  }
}

/** One token of each subject in turn, so that both see the same minutes. @returns median ms per token of each */
async function decodeInTurns(
  runners: readonly [string, Pick<Stage, "openSlot" | "forward">][],
  repetition: number,
): Promise<[string, number][]> {
  const prompt = makePrompt(32, repetition);
  const totals = new Map<string, number[]>();
  for (const [, runner] of runners) {
    runner.openSlot(0, GREEDY);
    runner.forward({
      runs: [{ slot: 0, position: 0, rows: prompt.length, output: "last" }],
      tokens: prompt,
      hidden: null,
    });
  }
  for (let i = 0; i < TOKENS; i++) {
    for (const [name, runner] of runners) {
      const start = performance.now();
      runner.forward({
        runs: [{ slot: 0, position: prompt.length + i, rows: 1, output: "last" }],
        tokens: Int32Array.of(400 + i),
        hidden: null,
      });
      const list = totals.get(name) ?? [];
      list.push(performance.now() - start);
      totals.set(name, list);
    }
  }
  return [...totals].map(([name, times]) => [name, median(times)]);
}
