import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { dirname } from "node:path";
import { median, quantile } from "../src/common/index.ts";

/** A measured value of one repetition. */
export interface Sample {
  readonly bench: string;
  /** What was run: `bare-loop`, `one-worker` ... */
  readonly subject: string;
  readonly metric: string;
  readonly unit: string;
  readonly value: number;
  readonly repetition: number;
}

/** A comparison of two subjects over the repetitions of one run, and the goal that it is held against. */
export interface Comparison {
  readonly bench: string;
  readonly name: string;
  readonly subject: string;
  readonly baseline: string;
  /** Median over the repetitions of subject / baseline. */
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
  readonly goal: string;
  readonly met: boolean;
}

export interface BenchContext {
  /** Folder for models that benches make and keep. */
  readonly cacheFolder: string;
  readonly repetitions: number;
  /** Processes that are killed for a figure about deaths. */
  readonly kills: number;
  record(sample: Sample): void;
  conclude(comparison: Comparison): void;
  log(line: string): void;
}

/** Ratios of paired repetitions: what the machine did to both in the same minute cancels out. */
export function compare(
  context: BenchContext,
  samples: readonly Sample[],
  names: { readonly bench: string; readonly metric: string; readonly subject: string; readonly baseline: string },
  goal: { readonly least?: number; readonly most?: number },
): Comparison {
  const of = (subject: string): number[] =>
    samples
      .filter((sample) => sample.subject === subject && sample.metric === names.metric)
      .map((sample) => sample.value);
  const baseline = of(names.baseline);
  const ratios = of(names.subject).map((value, i) => value / (baseline[i] ?? Number.NaN));
  const ratio = median(ratios);
  const comparison: Comparison = {
    bench: names.bench,
    name: names.metric,
    subject: names.subject,
    baseline: names.baseline,
    ratio,
    low: quantile(ratios, 0),
    high: quantile(ratios, 1),
    goal: goal.least === undefined ? `<= ${goal.most}` : `>= ${goal.least}`,
    met: goal.least === undefined ? ratio <= (goal.most ?? 0) : ratio >= goal.least,
  };
  context.conclude(comparison);
  return comparison;
}

/** Facts that go into every row. */
export function describeMachine(): Record<string, string | number> {
  let commit = "unknown";
  try {
    commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  } catch {
    // not a checkout
  }
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memory_bytes: totalmem(),
    node: process.version,
    commit,
  };
}

/** Appends JSONL rows to a file, each with machine and commit. */
export function rowWriter(path: string): (row: object) => void {
  mkdirSync(dirname(path), { recursive: true });
  const machine = describeMachine();
  return (row) =>
    appendFileSync(
      path,
      `${JSON.stringify({ schema: "noodle.bench.v1", ...row, machine, time: new Date().toISOString() })}\n`,
    );
}
