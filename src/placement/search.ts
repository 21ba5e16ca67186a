import { must } from "../common/index.ts";
import { planProblem, planRound, type Problem, type StageRange } from "../planner/index.ts";
import { formatSplit, parseSplit } from "../model/index.ts";
import type { PlacementObjective, PlanModelOptions } from "./plan-types.ts";
import type { Setup } from "./setup.ts";
import { type PlacedValue, valueBest, valuePlan } from "./value.ts";
import { type Batching, listBatchings } from "./workload.ts";

/** A way of batching that was looked at. */
export interface Tried {
  readonly batching: Batching;
  /** Of the best plan known with it; null without one. */
  readonly tokensPerS: number | null;
  /** No plan gives more with it. */
  readonly mostTokensPerS: number;
  readonly solved: boolean;
}

export interface Found {
  /** Stages of the problem (groups of units); null where there is no plan. */
  readonly stages: readonly StageRange[] | null;
  readonly best: PlacedValue | null;
  readonly tried: readonly Tried[];
  /** Of the objective: most tokens per second, least milliseconds, or fewest nodes that any plan can have. */
  readonly bound: number;
  readonly value: number;
  readonly proven: boolean;
  readonly algorithm: string;
  readonly timeLimitHit: boolean;
  /** Why there is no plan, where that is known without asking the planner. */
  readonly because?: { readonly words: string; readonly remedies: readonly string[] };
}

const SAME = 1e-9;
/** Time that one size of micro-batches may take at most, of what is left. */
const SHARE = 0.5;

export interface SearchOptions extends PlanModelOptions {
  readonly timeLimitS: number;
}

/** The best plan for an objective, over all ways of batching. @param objective `pareto` is searched as `throughput` */
export async function searchPlan(setup: Setup, objective: PlacementObjective, options: SearchOptions): Promise<Found> {
  const startMs = options.nowMs();
  const leftS = (): number => Math.max(0, options.timeLimitS - (options.nowMs() - startMs) / 1000);
  if (objective === "latency") return searchLatency(setup, options, leftS());
  const fewest = objective === "fewest_nodes" ? await countFewest(setup, options, leftS() * SHARE) : null;
  const search = new Search(setup, fewest?.nodes ?? null);
  if (fewest !== null && fewest.stages !== null) search.offer(fewest.stages);
  for (const node of setup.nodes) {
    search.offer([{ nodes: [node.name], first: 0, end: setup.bounds.length - 1 }]);
  }
  const ceilings = listBatchings(setup.workload)
    .map((batching) => ({ batching, most: boundTokensPerS(setup, batching) }))
    .sort((a, b) => b.most - a.most || b.batching.rows - a.batching.rows);
  const tried: Tried[] = [];
  const algorithms = new Set(fewest === null ? [] : [fewest.algorithm]);
  let hit = false;
  for (const { batching, most } of ceilings) {
    const isLost = most <= search.tokensPerS * (1 + SAME);
    if (isLost || (hit && leftS() === 0)) {
      tried.push({ batching, tokensPerS: null, mostTokensPerS: most, solved: false });
      continue;
    }
    const problem = limitTime(
      setup.problem(batching.rows),
      tried.length === 0 ? leftS() * SHARE : Math.min(leftS(), Math.max(0.05, leftS() * SHARE)),
    );
    const answer =
      fewest === null
        ? await planBatching(problem, batching, setup, options)
        : await planFewest(problem, batching, setup, options);
    algorithms.add(answer.algorithm);
    hit ||= answer.timeLimitHit;
    for (const stages of answer.offers) search.offer(stages);
    const bound = Math.min(
      most,
      answer.boundMs > 0 ? (1000 * setup.workload.streams) / answer.boundMs : Number.POSITIVE_INFINITY,
    );
    tried.push({ batching, tokensPerS: null, mostTokensPerS: bound, solved: true });
  }
  const { stages } = search;
  const bound = Math.max(0, ...tried.map((one) => one.mostTokensPerS));
  const best = stages === null ? null : valueBest(setup, stages);
  const found = best?.tokensPerS ?? 0;
  const isMet = best === null ? bound === 0 : bound <= found * (1 + SAME);
  const filled = tried.map((one) => {
    const value = stages === null ? null : valuePlan(setup, stages, one.batching).tokensPerS;
    return { ...one, tokensPerS: value, mostTokensPerS: Math.max(one.mostTokensPerS, value ?? 0) };
  });
  return {
    stages,
    best,
    tried: filled.sort((a, b) => (b.tokensPerS ?? 0) - (a.tokensPerS ?? 0)),
    bound: fewest === null ? Math.max(bound, found) : fewest.bound,
    value: fewest === null ? found : (stages?.length ?? 0),
    proven:
      fewest === null ? isMet : fewest.bound === (stages?.length ?? fewest.bound) && (stages !== null || fewest.proven),
    algorithm: [...algorithms].filter((name) => name !== "").join("+") || "bound",
    timeLimitHit: hit,
  };
}

/** Keeps the best plan that was offered, made legal where an odd stage is not. */
class Search {
  readonly #setup: Setup;
  readonly #mostNodes: number | null;
  stages: readonly StageRange[] | null = null;
  tokensPerS = 0;

  constructor(setup: Setup, mostNodes: number | null) {
    this.#setup = setup;
    this.#mostNodes = mostNodes;
  }

  offer(stages: readonly StageRange[]): void {
    if (this.#mostNodes !== null && stages.length > this.#mostNodes) return;
    for (const legal of makeLegal(this.#setup, stages)) {
      const value = valueBest(this.#setup, legal);
      if (value === null) continue;
      const isBetter = value.tokensPerS > this.tokensPerS * (1 + SAME);
      const isSmaller =
        value.tokensPerS > this.tokensPerS * (1 - SAME) && legal.length < (this.stages?.length ?? Infinity);
      if (!isBetter && !isSmaller) continue;
      this.tokensPerS = value.tokensPerS;
      this.stages = legal.map(({ nodes, first, end }) => ({ nodes, first, end }));
    }
  }
}

/** Some models refuse stages of certain lengths: then each cut is tried one place off. Usually the plan as it is. */
export function makeLegal(setup: Setup, stages: readonly StageRange[]): (readonly StageRange[])[] {
  if (isLegal(setup, stages)) return [stages];
  const others: (readonly StageRange[])[] = [];
  for (let at = 0; at + 1 < stages.length; at++) {
    const [left, right] = [must(stages[at], "stage"), must(stages[at + 1], "stage")];
    for (const cut of [left.end - 1, left.end + 1]) {
      if (cut <= left.first || cut >= right.end) continue;
      const moved = stages.with(at, { ...left, end: cut }).with(at + 1, { ...right, first: cut });
      if (isLegal(setup, moved)) others.push(moved);
    }
  }
  return others;
}

function isLegal(setup: Setup, stages: readonly StageRange[]): boolean {
  if (stages.length === 1) return true;
  try {
    parseSplit(formatSplit(setup.toPlaces(stages)), setup.model.description);
    return true;
  } catch {
    return false;
  }
}

/** Latency of one stream alone: micro-batches of one row, one in flight. */
async function searchLatency(setup: Setup, options: SearchOptions, limitS: number): Promise<Found> {
  const single: Batching = { rows: 1, inFlight: 1 };
  const problem = limitTime(setup.problem(1), limitS);
  const folded = setup.foldEnds(problem, 1);
  const extraMs = folded === null ? setup.extraMs : 0;
  const answer = await planRound(folded ?? problem, { inFlight: 1, extraMs }, options);
  const offers = [
    ...(answer.figures === null ? [] : makeLegal(setup, answer.figures.stages)),
    ...setup.nodes.map((node) => [{ nodes: [node.name], first: 0, end: setup.bounds.length - 1 }]),
  ];
  const valued = offers
    .map((stages) => ({ stages, value: valuePlan(setup, stages, single) }))
    .filter(({ value }) => value.value.violations.length === 0);
  const best = valued.reduce<(typeof valued)[number] | null>(
    (a, b) => (a === null || b.value.roundMs < a.value.roundMs * (1 - SAME) ? b : a),
    null,
  );
  const bound = Math.min(answer.boundMs, best?.value.roundMs ?? Number.POSITIVE_INFINITY);
  const stages = best?.stages.map(({ nodes, first, end }) => ({ nodes, first, end })) ?? null;
  const value = best?.value.roundMs ?? 0;
  return {
    stages,
    best: stages === null ? null : valueBest(setup, stages),
    tried:
      stages === null
        ? []
        : listBatchings(setup.workload)
            .map((batching) => ({
              batching,
              tokensPerS: valuePlan(setup, stages, batching).tokensPerS,
              mostTokensPerS: boundTokensPerS(setup, batching),
              solved: false,
            }))
            .sort((a, b) => b.tokensPerS - a.tokensPerS),
    bound,
    value,
    proven: stages === null ? answer.proven : value <= bound * (1 + SAME),
    algorithm: answer.algorithm,
    timeLimitHit: answer.timeLimitHit,
  };
}

interface Fewest {
  readonly nodes: number | null;
  readonly stages: readonly StageRange[] | null;
  readonly bound: number;
  readonly proven: boolean;
  readonly algorithm: string;
}

async function countFewest(setup: Setup, options: SearchOptions, limitS: number): Promise<Fewest> {
  const problem = limitTime(setup.problem(1), limitS);
  const answer = await planProblem({ ...problem, objective: "fewest_nodes" }, { ...options, alternatives: false });
  return {
    nodes: answer.nodes,
    stages: answer.feasible ? answer.stages : null,
    bound: answer.bound_nodes ?? 0,
    proven: answer.proven,
    algorithm: answer.algorithm,
  };
}

interface Answer {
  readonly offers: readonly (readonly StageRange[])[];
  readonly boundMs: number;
  readonly algorithm: string;
  readonly timeLimitHit: boolean;
}

async function planBatching(
  problem: Problem,
  batching: Batching,
  setup: Setup,
  options: SearchOptions,
): Promise<Answer> {
  const { inFlight, rows } = batching;
  const folded = setup.foldEnds(problem, rows);
  if (folded !== null && inFlight === 1) {
    const { figures, ...answer } = await planRound(folded, { inFlight }, options);
    return { ...answer, offers: figures === null ? [] : [figures.stages] };
  }
  const { figures, ...answer } = await planRound(problem, { inFlight, extraMs: setup.extraMs }, options);
  // Where the ways to the coordinator differ, the bound counts the shortest; the plan should know which is which.
  const other = folded === null ? null : (await planRound(folded, { inFlight }, options)).figures;
  return { ...answer, offers: [figures, other].flatMap((one) => (one === null ? [] : [one.stages])) };
}

/** With so few nodes, the least period. */
async function planFewest(problem: Problem, batching: Batching, setup: Setup, options: SearchOptions): Promise<Answer> {
  const answer = await planProblem({ ...problem, objective: "fewest_nodes" }, { ...options, alternatives: false });
  return {
    offers: answer.feasible ? [answer.stages] : [],
    boundMs: Math.max(batching.inFlight * (answer.bound_ms ?? 0), setup.extraMs),
    algorithm: answer.algorithm,
    timeLimitHit: answer.time_limit_hit,
  };
}

function limitTime(problem: Problem, limitS: number): Problem {
  return { ...problem, time_limit_s: Math.min(86_400, limitS) };
}

/**
 * No plan gives more tokens per second with a way of batching, whatever memory and links allow: every unit has to be
 * passed where it is quickest; and, with a price on each unit, no node earns more in a period than its best rate.
 */
function boundTokensPerS(setup: Setup, { rows, inFlight }: Batching): number {
  const { nodes, units } = setup.problem(rows);
  const least = (of: (node: (typeof nodes)[number]) => number): number => Math.min(...nodes.map(of));
  const times = nodes.map((node) => node.unit_ms ?? []);
  let roundMs = setup.extraMs + least((node) => node.overhead_ms ?? 0);
  const prices: number[] = [];
  const totals = times.map((unitMs) => unitMs.reduce((a, b) => a + b, 0));
  for (let unit = 0; unit < units; unit++) {
    let quickest = Number.POSITIVE_INFINITY;
    let price = 0;
    for (const [index, unitMs] of times.entries()) {
      const ms = unitMs[unit] ?? 0;
      quickest = Math.min(quickest, ms);
      price += (totals[index] ?? 0) > 0 ? ms / (totals[index] ?? 1) : 0;
    }
    roundMs += quickest;
    prices.push(price);
  }
  const rate = times.reduce((sum, unitMs) => {
    const rates = prices.map((price, unit) => (price === 0 ? 0 : price / (unitMs[unit] ?? 0)));
    return sum + Math.max(0, ...rates);
  }, 0);
  const periodMs = rate > 0 ? prices.reduce((a, b) => a + b, 0) / rate : 0;
  const itlMs = Math.max(roundMs, inFlight * periodMs);
  return itlMs > 0 ? (1000 * setup.workload.streams) / itlMs : Number.POSITIVE_INFINITY;
}
