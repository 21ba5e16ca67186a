import { NoodleError } from "../common/index.ts";
import { defaultThreads } from "../engine/index.ts";
import type { GgufFile } from "../gguf/index.ts";
import {
  describeModel,
  hashModel,
  type ModelDescription,
  type ModelHashes,
  parseSplit,
  type Split,
} from "../model/index.ts";
import { describePlacementModel, type ModelPlan } from "../placement/index.ts";
import type { ProfileDocument } from "../profile/index.ts";
import { profileModel, type ProfileOptions } from "../profiler/index.ts";
import type { CommandContext } from "./command.ts";
import type { OneProcess } from "./demo-forecast.ts";
import { planAlone, planWorkers } from "./demo-plan.ts";
import { BUNDLED_MODEL } from "./directories.ts";
import { readTrustedEngineOptions } from "./engine.ts";
import { chooseContextTokens, chooseLocalThreads } from "./local-cluster.ts";
import { PACKAGE_VERSION } from "./package.ts";
import { formatBytes, formatMs } from "./quantities.ts";

/** What is measured of each unit: enough for a table, little enough to wait for. */
const PROFILE = { budgetMs: 6000, prefillRows: [16, 64], decodeRows: [1, 4], contexts: [0, 256] } as const;
/** Of one process that has all cores: for one comparison. */
const WHOLE_PROFILE = { budgetMs: 2000, prefillRows: [16], decodeRows: [1, 8], contexts: [0] } as const;
/** Of the prompt whose first token the plan predicts; the simulation knows the real one. */
const PROMPT_TOKENS = 16;

/** What is known before anything runs. */
export interface DemoPlan {
  readonly model: ModelDescription;
  readonly hashes: ModelHashes;
  readonly split: Split;
  readonly profile: ProfileDocument;
  readonly plan: ModelPlan;
  /** One process with the whole model, with a worker's threads and with all cores. */
  readonly alone: readonly OneProcess[];
  readonly threads: number;
  readonly cores: number;
}

export interface DemoWishes {
  readonly workers: number;
  readonly threads?: number;
  /** Sequences that are to decode at once. */
  readonly streams: number;
}

/** Profiles the bundled model and plans it for so many workers of this machine. */
export async function prepareDemo(context: CommandContext, file: GgufFile, options: DemoWishes): Promise<DemoPlan> {
  const { out, host, signal } = context;
  const threads = chooseLocalThreads(options.threads, options.workers);
  const cores = defaultThreads();
  const model = describeModel(file.header, file.fileBytes);
  out.progress.phase(
    `reading ${model.name ?? "the bundled model"}: ${model.architecture}, ${model.units.length} units, ${formatBytes(model.fileBytes)}`,
  );
  const hashes = await hashModel(file, undefined, signal);
  out.progress.phase(`measuring what each of its units costs here, with ${sayThreads(threads)}`);
  const profile = await measure(context, PROFILE, threads);
  for (const words of profile.summary) out.note(`  ${words}`);
  const hasAll = threads >= cores;
  if (!hasAll) out.progress.phase(`measuring it with ${sayThreads(cores)} too, for one process alone`);
  const wholeProfile = hasAll ? profile : await measure(context, WHOLE_PROFILE, cores);
  out.progress.phase(`planning for ${options.workers} worker${options.workers === 1 ? "" : "s"}`);
  const shares = options.workers * threads > cores;
  const input = {
    model: describePlacementModel(file.header, {
      path: BUNDLED_MODEL,
      bytes: file.fileBytes,
      headerSha256: hashes.headerSha256,
    }),
    workers: options.workers,
    streams: options.streams,
    contextTokens: chooseContextTokens(undefined, model.contextLength),
    promptTokens: PROMPT_TOKENS,
    nowMs: () => host.nowMs(),
  };
  const note = `${options.workers} workers share ${cores} cores; the plan's own figures take each to have cores of its own, the simulation does not`;
  const plan = await planWorkers({ ...input, costs: profile.cost_model, note: shares ? note : null });
  const alone = await Promise.all(
    [profile, ...(wholeProfile === profile ? [] : [wholeProfile])].map(async ({ cost_model: costs, settings }) => ({
      plan: await planAlone({ ...input, costs, note: null }),
      costs,
      threads: settings.threads,
    })),
  );
  const split = plan.split;
  if (split === null) throw new NoodleError("PLAN_INFEASIBLE", plan.infeasible_because?.words ?? "no cut fits");
  for (const words of summarizePlan(plan)) out.note(`  ${words}`);
  return {
    model,
    hashes,
    split: parseSplit(split, model),
    profile,
    plan,
    alone,
    threads,
    cores,
  };
}

function measure(
  { out, host, signal }: CommandContext,
  cells: Pick<ProfileOptions, "budgetMs" | "prefillRows" | "decodeRows" | "contexts">,
  threads: number,
): Promise<ProfileDocument> {
  return profileModel(
    {
      ...cells,
      model: BUNDLED_MODEL,
      threads,
      engine: readTrustedEngineOptions(host.env),
      noodlecoreVersion: PACKAGE_VERSION,
    },
    (progress) => {
      if (progress.type === "update") out.progress.update(progress.fraction);
    },
    signal,
  );
}

function sayThreads(threads: number): string {
  return `${threads} thread${threads === 1 ? "" : "s"}`;
}

/** The cuts, how good they are, and the next best. */
function summarizePlan({ stages, split, bound, alternatives, predicted }: ModelPlan): string[] {
  const cuts = stages.map(({ node, units, decode_ms: ms }) => `${node} ${units} (${formatMs(ms)} ms)`).join(", ");
  const quality =
    bound === null
      ? ""
      : bound.proven
        ? "; proven: no other cuts give more tokens/s"
        : bound.gap === null
          ? "; not proven"
          : `; at most ${(100 * bound.gap).toFixed(1)}% from the best possible`;
  // The workers are alike: the same cuts in another order are the same plan.
  const second = alternatives.find((plan) => plan.split !== split);
  const found = predicted?.tokens_per_s ?? 0;
  return [
    `${cuts}${quality}`,
    ...(second === undefined || found === 0
      ? []
      : [
          `second best nearby: ${second.split}, ${(100 * (1 - second.tokens_per_s / found)).toFixed(1)}% fewer tokens/s`,
        ]),
  ];
}
