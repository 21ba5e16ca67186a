import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadEngine, Tokenizer } from "../../src/engine/index.ts";
import { describePlacementModel } from "../../src/placement/index.ts";
import { readModelHeader } from "../../src/profiler/index.ts";
import { parsePlanRules, type RunLoad, validateModel, type ValidationDocument } from "../../src/validate/index.ts";
import { NOODLE_ENTRY } from "../cluster.ts";
import type { BenchContext } from "../lib.ts";
import { prepareModel } from "../models.ts";

const bench = "validation";
const REAL_MODEL = join(homedir(), ".cache", "noodlecore", "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
const PLANS = "equal,memory,optimal,skewed,random:4";
const SLOWNESS = [2, 3, 4];
const REPETITIONS = 3;
const PROFILE_BUDGET_MS = 20_000;
const CONTEXT_TOKENS = 128;

interface Subject {
  readonly name: string;
  readonly model: string;
  readonly load: Omit<RunLoad, "contextTokens">;
}

/** How far predictions are off on the real 135M model; the folder keeps what came of it. */
export async function benchValidation(context: BenchContext): Promise<void> {
  const load = { streams: 4, requests: 4, promptTokens: 24, genTokens: 16 };
  await validate(context, { name: "135m", model: REAL_MODEL, load });
}

/** The same on the shape that most figures are stated for. */
export async function benchValidationShape(context: BenchContext): Promise<void> {
  const load = { streams: 3, requests: 3, promptTokens: 8, genTokens: 6 };
  await validate(context, { name: "1b-shape", model: await prepareModel(context), load });
}

async function validate(context: BenchContext, { name, model, load }: Subject): Promise<void> {
  loadEngine({});
  if (!existsSync(model)) {
    context.log(`${model} is not there: scripts/fetch-real-model.sh gets it`);
    return;
  }
  const { header, headerSha256, fileBytes } = await readModelHeader(model);
  using tokenizer = Tokenizer.open(model);
  const config = {
    slowness: SLOWNESS,
    threads: 1,
    repetitions: REPETITIONS,
    seed: 1,
    profileBudgetMs: PROFILE_BUDGET_MS,
    load: { ...load, contextTokens: CONTEXT_TOKENS },
  };
  const { document, profile } = await validateModel(
    {
      ...config,
      model,
      placement: describePlacementModel(header, { path: model, bytes: fileBytes, headerSha256 }),
      tokenizer,
      entry: NOODLE_ENTRY,
      profile: null,
      profiling: {},
      rules: parsePlanRules(PLANS),
      shape: null,
    },
    { signal: new AbortController().signal, onPhase: (words) => context.log(words) },
  );
  keep(name, { ...config, plans: PLANS, cost_model: profile.cost_model }, document);
  conclude(context, name, document);
}

/** What the README's figures are read from, and what a test predicts again. */
function keep(name: string, config: object, document: ValidationDocument): void {
  const folder = fileURLToPath(new URL(name, import.meta.url));
  mkdirSync(folder, { recursive: true });
  const write = (file: string, value: object): void =>
    writeFileSync(join(folder, file), `${JSON.stringify(value, null, 1)}\n`);
  write("config.json", config);
  write("measured.json", document);
  write("summary.json", { model: document.model, machine: document.machine, ...document.summary });
}

function conclude(context: BenchContext, name: string, { summary }: ValidationDocument): void {
  for (const { name: figure, value, limit, side, met } of summary.goals) {
    context.conclude({
      bench,
      name: figure,
      subject: `${name}, predicted`,
      baseline: "measured",
      ratio: value,
      low: value,
      high: value,
      goal: `${side === "most" ? "<=" : ">="} ${limit}`,
      met,
    });
  }
}
