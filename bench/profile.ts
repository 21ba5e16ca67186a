import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { type CostClass, type ProfileDocument, readProfile } from "../src/profile/index.ts";
import { NOODLE_ENTRY } from "./cluster.ts";
import { type BenchContext } from "./lib.ts";
import { prepareModel } from "./models.ts";

const bench = "profile";
const GRID = ["--level", "layer", "--decode-rows", "1,4", "--prefill", "64", "--contexts", "0,256"];
const BUDGET_MS = 40_000;
const TURN_MS = 1000;
/** Below it a time is that of the callbacks around it: the lookup of one row of the embedding. */
const LEAST_MS = 0.02;
const REAL_MODEL = join(homedir(), ".cache", "noodlecore", "models", "SmolLM2-135M-Instruct.Q4_1.gguf");

/**
 * How well a profile repeats, and how well layers of random values stand for real ones. The three runs take turns of a
 * second, so that what the machine does over minutes (its neighbours, its clock) hits all of them alike.
 */
export async function benchProfile(context: BenchContext): Promise<void> {
  const models = [await prepareModel(context), REAL_MODEL];
  for (const model of models) {
    if (!existsSync(model)) {
      context.log(`${model} is not there: scripts/fetch-real-model.sh gets it`);
      continue;
    }
    const [first, second, synthetic] = await profileInTurns(model, [[], [], ["--synthetic"]]);
    if (first === undefined || second === undefined || synthetic === undefined) throw new Error("a profile is missing");
    const name = first.model.name ?? model;
    for (const [subject, other, limit] of [
      ["a second run", second, 0.03],
      ["synthetic", synthetic, 0.05],
    ] as const) {
      for (const { unitClass, errors } of compareClasses(first, other)) {
        conclude(context, `${name}: ${unitClass}`, subject, errors, limit);
      }
      conclude(context, `${name}: mean over units`, subject, [...compareUnits(first, other)], limit);
    }
  }
}

/** Runs `noodle profile` once for each list of further arguments, all at once, but only one of them at a time. */
async function profileInTurns(model: string, variants: readonly (readonly string[])[]): Promise<ProfileDocument[]> {
  const folder = await mkdtemp(join(tmpdir(), "noodle-bench-"));
  const budget = `${(BUDGET_MS * variants.length) / 1000}s`;
  const runs = variants.map((more, index) => {
    const out = join(folder, String(index));
    const args = [NOODLE_ENTRY, "profile", model, ...GRID, "--budget", budget, "--out", out, ...more];
    // A group of its own: the measuring process, a child of it, is stopped with it.
    const child = spawn(process.execPath, args, { stdio: "ignore", detached: true });
    return { child, out, ended: once(child, "close") };
  });
  try {
    const signal = (run: (typeof runs)[number], name: NodeJS.Signals): void => {
      if (run.child.exitCode === null && run.child.pid !== undefined) process.kill(-run.child.pid, name);
    };
    const isRunning = ({ child }: (typeof runs)[number]): boolean =>
      child.exitCode === null && child.signalCode === null;
    for (const run of runs) signal(run, "SIGSTOP");
    for (let turn = 0; runs.some(isRunning); turn++) {
      const run = runs.filter(isRunning)[turn % runs.filter(isRunning).length];
      if (run === undefined) break;
      signal(run, "SIGCONT");
      await Promise.race([run.ended, new Promise((resolve) => setTimeout(resolve, TURN_MS))]);
      signal(run, "SIGSTOP");
    }
    return await Promise.all(
      runs.map(async ({ out }) => readProfile(JSON.parse(await readFile(join(out, "profile.json"), "utf8")))),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Relative differences of the cells that both have, class by class. */
function compareClasses(
  first: ProfileDocument,
  other: ProfileDocument,
): readonly { readonly unitClass: string; readonly errors: readonly number[] }[] {
  return first.cost_model.classes.map((unitClass) => {
    const match = other.cost_model.classes.find(({ name }) => name === unitClass.name);
    return { unitClass: unitClass.name, errors: match === undefined ? [] : [...compareTables(unitClass, match)] };
  });
}

function* compareUnits(first: ProfileDocument, other: ProfileDocument): Generator<number> {
  for (const unitClass of first.cost_model.classes) {
    const match = other.cost_model.classes.find(({ name }) => name === unitClass.name);
    if (match === undefined) continue;
    for (const _unit of unitClass.units) yield* compareTables(unitClass, match);
  }
}

function* compareTables(left: CostClass, right: CostClass): Generator<number> {
  for (const phase of ["decode", "prefill"] as const) {
    for (const [i, row] of left[phase].ms.entries()) {
      for (const [j, ms] of row.entries()) {
        const rows = right[phase].rows.indexOf(left[phase].rows[i] ?? -1);
        const column = right[phase].contexts.indexOf(left[phase].contexts[j] ?? -1);
        const otherMs = right[phase].ms[rows]?.[column] ?? null;
        if (ms !== null && otherMs !== null && ms >= LEAST_MS) yield Math.abs(otherMs / ms - 1);
      }
    }
  }
}

function conclude(
  context: BenchContext,
  name: string,
  subject: string,
  errors: readonly number[],
  limit: number,
): void {
  if (errors.length === 0) return context.log(`${name}, ${subject}: nothing to compare`);
  const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
  context.conclude({
    bench,
    name,
    subject,
    baseline: "the first run",
    ratio: mean,
    low: Math.min(...errors),
    high: Math.max(...errors),
    goal: `<= ${limit}`,
    met: mean <= limit,
  });
}
