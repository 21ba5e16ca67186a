import { must, NoodleError } from "../common/index.ts";
import { formatSplit, splitByBytes, type UnitRange } from "../model/index.ts";
import { type Cluster, type PlacementModel, type PlacementNode, planModel } from "../placement/index.ts";
import type { RunLoad, RunPlan, RunStage } from "./types.ts";

/** A rule by which plans are made, and how many of it. */
export interface PlanRule {
  readonly rule: "equal" | "memory" | "optimal" | "skewed" | "random";
  readonly count: number;
}

export interface PlanInput {
  readonly model: PlacementModel;
  readonly cluster: Cluster;
  /** Of the workers, in order. */
  readonly nodes: readonly PlacementNode[];
  readonly load: RunLoad;
  readonly random: () => number;
}

const RULES = ["equal", "memory", "optimal", "skewed", "random"] as const;
const MOST_RANDOM = 100;
/** A random plan that is there already is drawn again so often. */
const DRAWS = 50;

/** Reads `equal,memory,optimal,random:3,skewed`. @throws NoodleError `USAGE` */
export function parsePlanRules(text: string): readonly PlanRule[] {
  return text.split(",").map((part) => {
    const [name = "", count] = part.trim().split(":");
    const rule = RULES.find((known) => known === name);
    const isCounted = count === undefined || (rule === "random" && /^[1-9][0-9]?$/.test(count));
    if (rule !== undefined && isCounted) return { rule, count: count === undefined ? 1 : Number(count) };
    throw new NoodleError(
      "USAGE",
      `--plans "${part}": there are ${RULES.join(", ")}, and random:N with N from 1 to ${MOST_RANDOM - 1}`,
    );
  });
}

/**
 * Makes the plans of the rules; those that are the same as an earlier one are left out.
 *
 * @throws NoodleError `SPLIT_INVALID` for a model that has fewer units or cuts than workers
 */
export async function listPlans(rules: readonly PlanRule[], input: PlanInput): Promise<readonly RunPlan[]> {
  const plans = new Map<string, RunPlan>();
  const add = (name: string, stages: readonly RunStage[]): boolean => {
    const key = describePlan(stages);
    if (plans.has(key)) return false;
    plans.set(key, { name, stages });
    return true;
  };
  const workers = input.nodes.map((_, worker) => worker);
  for (const { rule, count } of rules) {
    if (rule === "equal") add("equal", assign(splitEvenly(input), workers));
    else if (rule === "memory") add("memory", assign(splitByBytes(input.model.description, workers.length), workers));
    else if (rule === "optimal") add("optimal", await findOptimal(input));
    else if (rule === "skewed") add("skewed", assign(splitSkewed(input), workers));
    else {
      for (let index = 1; index <= count; index++) {
        for (let draw = 0; draw < DRAWS; draw++) if (add(`random ${index}`, drawStages(input))) break;
      }
    }
  }
  return [...plans.values()];
}

/** `worker 1 0:9, worker 2 9:18`. */
export function describePlan(stages: readonly RunStage[]): string {
  return stages.map((stage) => `worker ${stage.worker + 1} ${formatSplit([stage])}`).join(", ");
}

function assign(split: readonly UnitRange[], workers: readonly number[]): readonly RunStage[] {
  return split.map((units, index) => ({ ...units, worker: must(workers[index], "worker") }));
}

/** As many blocks for each worker, whatever they are. */
function splitEvenly(input: PlanInput): readonly UnitRange[] {
  const share = input.nodes.map(() => 1 / input.nodes.length);
  return splitByShares(input, share);
}

/** The other way round than it should be: the slower a worker, the more it gets. */
function splitSkewed(input: PlanInput): readonly UnitRange[] {
  const { model, nodes } = input;
  const range = { first: 0, end: model.description.units.length };
  const ms = nodes.map(({ costs }) => costs.predictStage(range, { phase: "decode", rows: 1, context: 0 }).ms);
  const total = ms.reduce((sum, each) => sum + each, 0);
  return splitByShares(
    input,
    ms.map((each) => each / total),
  );
}

/** Cuts where the shares of the blocks say, moved to the nearest legal cut. */
function splitByShares({ model, nodes }: PlanInput, shares: readonly number[]): readonly UnitRange[] {
  const { legalCuts, units } = model.description;
  requireCuts(legalCuts.length, nodes.length);
  const cuts: number[] = [];
  let sum = 0;
  for (const [index, share] of shares.slice(0, -1).entries()) {
    sum += share;
    const wanted = 1 + sum * (units.length - 2);
    const after = cuts.at(-1) ?? 0;
    const left = shares.length - 2 - index;
    const free = legalCuts.filter((cut) => cut > after).slice(0, left === 0 ? undefined : -left);
    cuts.push(must(free.toSorted((a, b) => Math.abs(a - wanted) - Math.abs(b - wanted))[0], "legal cut"));
  }
  return cutAt(cuts, units.length);
}

function drawStages({ model, nodes, random }: PlanInput): readonly RunStage[] {
  const { legalCuts, units } = model.description;
  requireCuts(legalCuts.length, nodes.length);
  const pick = <T>(from: T[]): T => must(from.splice(Math.floor(random() * from.length), 1)[0], "choice");
  const free = [...legalCuts];
  const cuts = Array.from({ length: nodes.length - 1 }, () => pick(free)).sort((a, b) => a - b);
  const workers = nodes.map((_, worker) => worker);
  return assign(
    cutAt(cuts, units.length),
    nodes.map(() => pick(workers)),
  );
}

function cutAt(cuts: readonly number[], units: number): readonly UnitRange[] {
  const bounds = [0, ...cuts, units];
  return bounds.slice(1).map((end, index) => ({ first: must(bounds[index], "bound"), end }));
}

function requireCuts(cuts: number, workers: number): void {
  if (cuts >= workers - 1) return;
  throw new NoodleError("SPLIT_INVALID", `${workers} stages: the model has only ${cuts} legal cuts`);
}

async function findOptimal({ model, cluster, nodes, load }: PlanInput): Promise<readonly RunStage[]> {
  const plan = await planModel(
    {
      model,
      cluster,
      nodes,
      objective: "throughput",
      workload: {
        streams: load.streams,
        contextTokens: load.contextTokens,
        meanContextTokens: Math.floor(load.promptTokens + load.genTokens / 2),
        promptTokens: load.promptTokens,
      },
    },
    // With a clock that stands still the plan depends on the input alone.
    { nowMs: () => 0 },
  );
  if (!plan.feasible) {
    throw new NoodleError("PLAN_INFEASIBLE", plan.infeasible_because?.words ?? "no cut of the model fits");
  }
  return plan.stages.map(({ node, first, end }) => ({
    first,
    end,
    worker: nodes.findIndex(({ name }) => name === node),
  }));
}
