import { existsSync } from "node:fs";
import { cpus, homedir } from "node:os";
import { join } from "node:path";
import { must, quantile } from "../src/common/index.ts";
import type { CostClass, CostModelDocument, ProfileDocument } from "../src/profile/index.ts";
import { profileModel, type ProfileOptions } from "../src/profiler/index.ts";
import { mergeCosts } from "../src/validate/index.ts";
import { type BenchContext } from "./lib.ts";
import { prepareModel } from "./models.ts";

const bench = "profile";
const GRID = { decodeRows: [1, 4], prefillRows: [64], contexts: [0, 256] } as const;
/** Each subject is measured in slices, in turn: what else the machine does in these minutes so meets all of them alike. */
const SLICES = 6;
const SLICE_BUDGET_MS = 12_000;
/** Below it a time is that of the callbacks around it: the lookup of an embedding's rows lasts hundredths of a millisecond. */
const LEAST_MS = 0.1;
const REAL_MODEL = join(homedir(), ".cache", "noodlecore", "models", "SmolLM2-135M-Instruct.Q4_1.gguf");

/** How well a profile repeats, and how well layers of random values stand for real ones. */
export async function benchProfile(context: BenchContext): Promise<void> {
  const models = [await prepareModel(context), REAL_MODEL];
  for (const model of models) {
    if (!existsSync(model)) {
      context.log(`${model} is not there: scripts/fetch-real-model.sh gets it`);
      continue;
    }
    const options: ProfileOptions = {
      ...GRID,
      model,
      threads: cpus().length,
      level: "layer",
      budgetMs: SLICE_BUDGET_MS,
    };
    const slices: Record<"first" | "synthetic" | "second", ProfileDocument[]> = {
      first: [],
      synthetic: [],
      second: [],
    };
    for (let i = 0; i < SLICES; i++) {
      context.log(`${model}: slice ${i + 1} of ${SLICES}`);
      slices.first.push(await profileModel(options));
      slices.synthetic.push(await profileModel({ ...options, synthetic: true }));
      slices.second.push(await profileModel(options));
    }
    const merge = (documents: readonly ProfileDocument[]): CostModelDocument =>
      mergeCosts(documents.map((document) => document.cost_model));
    logSpread(context, slices.first);
    const [first, synthetic, second] = [merge(slices.first), merge(slices.synthetic), merge(slices.second)];
    const name = must(slices.first[0], "profile").model.name ?? model;
    for (const [subject, other, limit] of [
      ["a second run", second, 0.03],
      ["synthetic", synthetic, 0.05],
    ] as const) {
      for (const { unitClass, errors } of compareClasses(first, other)) {
        conclude(context, `${name}: ${unitClass}`, subject, errors, limit);
        context.log(`  ${errors.map((error) => `${error >= 0 ? "+" : ""}${(100 * error).toFixed(1)}%`).join(" ")}`);
      }
      conclude(context, `${name}: mean over units`, subject, [...compareUnits(first, other)], limit);
    }
  }
}

/** How far the slices of one and the same profile lie from their median: what no comparison of two profiles can beat. */
function logSpread(context: BenchContext, documents: readonly ProfileDocument[]): void {
  const merged = mergeCosts(documents.map((document) => document.cost_model));
  for (const { name } of merged.classes) {
    const errors = documents
      .flatMap(({ cost_model }) => compareClasses(merged, cost_model).filter(({ unitClass }) => unitClass === name))
      .flatMap((each) => each.errors.map(Math.abs));
    if (errors.length === 0) continue;
    const [middle, high] = [0.5, 0.9].map((share) => `${(100 * quantile(errors, share)).toFixed(1)}%`);
    context.log(`${name}: slices of one profile lie ${middle} from their median, the worst tenth ${high} and more`);
  }
}

/** Signed relative differences of the cells that both have, class by class. */
function compareClasses(
  first: CostModelDocument,
  other: CostModelDocument,
): readonly { readonly unitClass: string; readonly errors: readonly number[] }[] {
  return first.classes.map((unitClass) => {
    const match = other.classes.find(({ name }) => name === unitClass.name);
    return { unitClass: unitClass.name, errors: match === undefined ? [] : [...compareTables(unitClass, match)] };
  });
}

function* compareUnits(first: CostModelDocument, other: CostModelDocument): Generator<number> {
  for (const unitClass of first.classes) {
    const match = other.classes.find(({ name }) => name === unitClass.name);
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
        if (ms !== null && otherMs !== null && ms >= LEAST_MS) yield otherMs / ms - 1;
      }
    }
  }
}

function conclude(
  context: BenchContext,
  name: string,
  subject: string,
  signedErrors: readonly number[],
  limit: number,
): void {
  if (signedErrors.length === 0) return context.log(`${name}, ${subject}: nothing to compare`);
  const errors = signedErrors.map(Math.abs);
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
