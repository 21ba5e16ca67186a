import { must } from "../../src/common/index.ts";
import { Random } from "../../src/sim/random.ts";
import { FAULTS, WEIGHTS } from "./faults.ts";
import type { ClusterPlan } from "./sim-cluster.ts";
import type { RequestPlan } from "./sim-request.ts";
import type { ToyRules } from "./toy-model.ts";

/** What a seed stands for: a cluster, requests, and faults; times from the moment in which the cluster is ready. */
export interface Scenario {
  readonly cluster: ClusterPlan;
  /** Workers that are there from the start. */
  readonly started: number;
  readonly requests: readonly { readonly atMs: number; readonly plan: RequestPlan }[];
  readonly faults: readonly { readonly atMs: number; readonly name: string }[];
}

/** Row classes as real processors have them. */
const RULES: readonly ToyRules[] = [
  { rowsAtLeast: 0, group: 0, tiledRows: 0 },
  { rowsAtLeast: 2, group: 0, tiledRows: 0 },
  { rowsAtLeast: 0, group: 4, tiledRows: 0 },
  { rowsAtLeast: 2, group: 4, tiledRows: 3 },
];

const SPLITS = ["0:2,2:5", "0:3,3:5", "0:4,4:5", "0:1,1:3,3:5", "0:2,2:4,4:5"];

const PROMPTS: readonly (readonly number[])[] = [
  [1, 2, 3, 4, 5],
  [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13],
  [40, 41, 42],
  [7],
];

export const MOST_TOKENS = 10;
const FAULTS_WITHIN_MS = 700;

/** The probe behind all faults, and the run that nothing disturbs. */
export function makeProbe(name: string, prompt: readonly number[], seed: number, maxTokens = MOST_TOKENS): RequestPlan {
  return { name, client: name, prompt, seed, maxTokens, deadlineMs: 20_000, cancelAfterMs: null };
}

export function drawScenario(seed: number): Scenario {
  const random = new Random(seed, "scenario");
  const pick = <T>(from: readonly T[]): T => must(from[random.integer(0, from.length - 1)], "choice");
  const split = pick(SPLITS);
  const stages = split.split(",").length;
  const workers = stages + random.integer(0, 1);
  const cluster: ClusterPlan = {
    workers,
    stages,
    split,
    rules: pick(RULES),
    callMs: pick([3, 10, 25]),
    parallel: pick([2, 4]),
    determinism: random.uniform() < 0.6 ? "strict" : "recorded",
    prefillRows: 4,
    contextTokens: 64,
  };
  const requests = Array.from({ length: random.integer(2, 4) }, (_, index) => ({
    atMs: random.integer(0, 400),
    plan: {
      name: `r${index}`,
      client: pick(["", "a", "b"]),
      prompt: pick(PROMPTS),
      seed: random.integer(1, 2),
      maxTokens: random.integer(3, MOST_TOKENS),
      deadlineMs: pick([800, 4000, 6000]),
      cancelAfterMs: random.uniform() < 0.15 ? random.integer(0, 600) : null,
    },
  }));
  const names = Object.keys(FAULTS).flatMap((name) => Array.from({ length: WEIGHTS[name] ?? 1 }, () => name));
  const faults = Array.from({ length: random.integer(1, 4) }, () => ({
    atMs: random.integer(0, FAULTS_WITHIN_MS),
    name: pick(names),
  }));
  return { cluster, started: random.uniform() < 0.8 ? workers : stages, requests, faults };
}
