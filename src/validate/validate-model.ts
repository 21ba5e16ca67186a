import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { must, NoodleError } from "../common/index.ts";
import { listPlans, describePlan, type PlanRule } from "./list-plans.ts";
import type { PlacementModel } from "../placement/index.ts";
import type { ProfileDocument } from "../profile/index.ts";
import { profileModel, type ProfileOptions } from "../profiler/index.ts";
import { makeRandom } from "../shaper/index.ts";
import { calibrateCoRun, concludeCalibration, NO_ROUNDS, runCalibration } from "./calibrate-machine.ts";
import { mergeCosts } from "./merge-costs.ts";
import type { ValidationDocument } from "./document.ts";
import { makeVirtualCluster } from "./make-cluster.ts";
import { makeValidation, type ValidatedPlan } from "./make-document.ts";
import { choosePlanPolicy, predictRun } from "./predict-run.ts";
import { RunCluster, type RunContext } from "./run-cluster.ts";
import { runLoad } from "./run-load.ts";
import { summarizeRun } from "./summarize-run.ts";
import type { RunFigures, RunSetup } from "./types.ts";

/** What is to be validated, and how. */
export interface ValidationOptions extends Omit<RunContext, "signal"> {
  readonly placement: PlacementModel;
  /** Null = measured at the start. */
  readonly profile: ProfileDocument | null;
  /** How profiles are measured here: engine and version. */
  readonly profiling: Pick<ProfileOptions, "engine" | "noodlecoreVersion">;
  readonly rules: readonly PlanRule[];
  /** Of each plan, in turns. */
  readonly repetitions: number;
  readonly seed: number;
  /** Time of the profile that is measured. */
  readonly profileBudgetMs: number;
}

export interface ValidationControl {
  readonly signal: AbortSignal;
  readonly onPhase: (words: string) => void;
}

const MOST_DECODE_ROWS = 8;
const LEAST_CHUNK_ROWS = 4;
const WARM_UP_PROMPT_TOKENS = 8;
const WARM_UP_TOKENS = 2;

/**
 * Predicts plans from a profile that was made without them, then runs each for real, in turns, and holds one against
 * the other.
 *
 * @returns the document, and the profile that the predictions were made from
 * @throws what profiling, planning and running throw
 */
export async function validateModel(
  options: ValidationOptions,
  control: ValidationControl,
): Promise<{ readonly document: ValidationDocument; readonly profile: ProfileDocument }> {
  const { placement, slowness, shape, load, threads, repetitions } = options;
  const { signal, onPhase } = control;
  const { model, tokenizer, entry } = options;
  const context = { model, tokenizer, entry, load, threads, signal };
  const profiling: ProfileOptions = { ...options.profiling, model, threads, level: "layer", seed: options.seed };
  const root = await mkdtemp(join(tmpdir(), "noodle-validate-"));
  try {
    const task = { ...context, placement, slowness: Math.min(...slowness), workers: slowness.length, directory: root };
    onPhase("measuring what computing at once costs");
    const { units } = placement.description;
    const coRun = await calibrateCoRun(profiling, units.length, Math.min(slowness.length, cpus().length), signal);
    const measured: RunFigures[][] = [];
    const profiles: ProfileDocument[] = options.profile === null ? [] : [options.profile];
    let rounds = NO_ROUNDS;
    let setups: readonly RunSetup[] = [];
    const prepare = () => {
      const profile = mergeProfiles(profiles);
      const calibration = concludeCalibration(task, rounds, profile.cost_model, coRun);
      const made = makeVirtualCluster(
        placement,
        slowness.map(() => profile),
        slowness,
        shape,
      );
      const facts = { units: units.length, embeddingLength: placement.description.embeddingLength };
      return { profile, ...made, input: { model: facts, nodes: made.nodes, slowness, calibration, shape, load } };
    };
    for (let round = 0; round < repetitions; round++) {
      // What predictions are made from is measured in slices between the rounds: the machine may drift meanwhile.
      if (options.profile === null) {
        onPhase(`round ${round + 1} of ${repetitions}: measuring what each unit costs here`);
        profiles.push(await measureProfile(options, profiling, control));
      }
      onPhase(`round ${round + 1} of ${repetitions}: measuring hops and the coordinator's turn`);
      rounds = await runCalibration(task, rounds, round);
      if (round === 0) {
        const { cluster, nodes, input } = prepare();
        const random = makeRandom(options.seed, "plans");
        const plans = await listPlans(options.rules, { model: placement, cluster, nodes, load, random });
        setups = plans.map((plan) => ({ plan, policy: choosePlanPolicy(input, plan) }));
      }
      for (const [index, setup] of setups.entries()) {
        const figures = await runPlan({ ...context, slowness, shape }, setup, round, root);
        (measured[index] ??= []).push(figures);
        const words = `${setup.plan.name} (${describePlan(setup.plan.stages)})`;
        onPhase(`round ${round + 1} of ${repetitions}: ${words}: ${figures.tokensPerSec.toFixed(1)} tokens/s`);
      }
    }
    const { profile, input, notes } = prepare();
    const plans = setups.map(({ plan, policy }, index) => ({
      plan,
      policy,
      prediction: predictRun(input, plan, policy),
      measured: must(measured[index], "runs of a plan"),
    }));
    const document = makeValidation(
      {
        noodlecoreVersion: options.profiling.noodlecoreVersion ?? "unknown",
        model: placement,
        machine: { cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length },
        threads,
        load,
        slowness,
        shape,
        calibration: input.calibration,
        notes: [...notes.filter((note) => !note.includes(" may take ")), ...noteSharing(options, plans)],
      },
      plans,
    );
    return { document, profile };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

const WARM_UP_ROUND = 2000;

async function runPlan(context: RunContext, setup: RunSetup, round: number, directory: string): Promise<RunFigures> {
  const { load, tokenizer, signal } = context;
  await using running = await RunCluster.start(context, setup, directory);
  const { coordinator } = running.cluster;
  const promptTokens = Math.min(load.promptTokens, WARM_UP_PROMPT_TOKENS);
  const warmUp = { ...load, requests: load.streams, promptTokens, genTokens: WARM_UP_TOKENS };
  await runLoad(coordinator, running.observer, warmUp, tokenizer.vocabSize, WARM_UP_ROUND + round, signal);
  const record = await runLoad(coordinator, running.observer, load, tokenizer.vocabSize, round, signal);
  return summarizeRun(record, setup.plan.stages.length);
}

/** The profile of all rounds. */
function mergeProfiles(profiles: readonly ProfileDocument[]): ProfileDocument {
  const [first] = profiles;
  return { ...must(first, "profile"), cost_model: mergeCosts(profiles.map((profile) => profile.cost_model)) };
}

async function measureProfile(
  { load, profileBudgetMs, repetitions }: ValidationOptions,
  profiling: ProfileOptions,
  { signal }: ValidationControl,
): Promise<ProfileDocument> {
  const rows = Array.from({ length: Math.min(load.streams, MOST_DECODE_ROWS) }, (_, index) => index + 1);
  const { promptTokens } = load;
  const chunks = [promptTokens, Math.ceil(promptTokens / 2), Math.ceil(promptTokens / 4)];
  return profileModel(
    {
      ...profiling,
      budgetMs: profileBudgetMs / repetitions,
      decodeRows: [...new Set([...rows, load.streams])],
      prefillRows: [...new Set([...chunks, LEAST_CHUNK_ROWS])].filter((count) => count <= promptTokens),
      contexts: [0, promptTokens + load.genTokens],
    },
    () => undefined,
    signal,
  );
}

/** Where the prediction does not hold, and how much of it is about sharing the machine. */
function noteSharing(
  { slowness, threads, load }: ValidationOptions,
  plans: readonly ValidatedPlan[],
): readonly string[] {
  const cores = cpus().length;
  const wanted = slowness.reduce((total, factor) => total + threads / factor, 0);
  const most = Math.max(0, ...plans.map(({ prediction }) => prediction.coRunRatio));
  return [
    `stages that compute at once on this machine were taken to slow one another down by ${(100 * most).toFixed(1)}% at most: while one waits idly, it does not`,
    ...(wanted <= cores
      ? []
      : [
          `the workers want ${wanted.toFixed(1)} of ${cores} cores at times: where workers share cores without waiting, the prediction does not hold`,
        ]),
    ...(load.requests <= load.streams
      ? []
      : [
          "a session is opened and closed behind the calls that run, which the prediction does not know: with more requests than streams first tokens come later than predicted",
        ]),
  ];
}

/** @throws NoodleError `USAGE` */
export function checkSpeeds(speeds: readonly number[], workers: number): void {
  if (speeds.length === workers) return;
  throw new NoodleError(
    "USAGE",
    `--speeds names ${speeds.length} workers, --workers says ${workers}: ${must(speeds[0], "speed")}, ...`,
  );
}
