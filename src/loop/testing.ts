import { must, sum } from "../common/index.ts";
import { type Cluster, type ModelPlan, planModel, type Slowdown } from "../placement/index.ts";
import { COORDINATOR, generateWorkload, makeSimCluster, simulate } from "../sim/index.ts";
import { createLoop } from "./create-loop.ts";
import type { Loop, LoopCosts, LoopDecision, LoopOptions, LoopPlan, LoopStep } from "./types.ts";

const STILL = { nowMs: () => 0 };
const PROMPT_TOKENS = 32;
const GEN_TOKENS = 96;

/** What happens to a simulated cluster, and for how long it is watched. */
export interface LoopScenario {
  readonly costs: LoopCosts;
  readonly slowdowns?: readonly Slowdown[];
  /** Sigma of the logarithm of a step's time. */
  readonly noise?: number;
  readonly seconds: number;
  readonly seed?: number;
  readonly options?: Partial<LoopOptions>;
  /** Streams from `atS` on, in place of the workload's. */
  readonly streams?: { readonly atS: number; readonly count: number };
  /** Changes what the loop gets to see. */
  readonly spoil?: (step: LoopStep, index: number) => LoopStep;
}

export interface LoopStory {
  readonly decisions: readonly LoopDecision[];
  readonly moves: readonly LoopDecision[];
  readonly loop: Loop;
  readonly firstPlan: ModelPlan;
  readonly plan: ModelPlan;
  /** Tokens by time, of the plan that was in force then. */
  readonly tokensMs: readonly number[];
  /** When the last plan came into force. */
  readonly planSinceMs: number;
  /** Decode steps of the first stage, by time. */
  readonly decodeMs: readonly number[];
}

/**
 * Runs a scenario: the simulator's steps are what the loop observes, and a move that it decides begins the simulation anew
 * with the new plan, from when its weights are loaded.
 */
export async function tellStory(scenario: LoopScenario): Promise<LoopStory> {
  const { costs, seconds, options = {} } = scenario;
  const firstPlan = await planModel(costs, STILL);
  const loop = createLoop({ mode: "auto", ...options }, costs, toLoopPlan(firstPlan, 1));
  const decisions: LoopDecision[] = [];
  const tokensMs: number[] = [];
  const decodeMs: number[] = [];
  const endMs = 1000 * seconds;
  let [plan, epoch, sinceMs, index] = [firstPlan, 1, 0, 0];
  while (sinceMs < endMs) {
    const piece = simulatePiece(scenario, plan, epoch, sinceMs);
    let next: { readonly plan: ModelPlan; readonly atMs: number } | null = null;
    let at = 0;
    let nowMs = sinceMs;
    while (nowMs < Math.min(endMs, next?.atMs ?? endMs)) {
      nowMs += 1000;
      for (; (piece.steps[at]?.atMs ?? Number.POSITIVE_INFINITY) <= nowMs; at++) {
        const step = must(piece.steps[at], "step");
        if (step.phase === "decode" && step.stages[0]?.stage === 0) decodeMs.push(step.atMs);
        loop.observe(scenario.spoil?.(step, index++) ?? step);
      }
      const said = await loop.decide(nowMs, {
        sessions: costs.workload.streams,
        waiting: piece.countWaiting(nowMs),
        remainingMs: 5000,
      });
      decisions.push(...said);
      const move = said.find(({ action }) => action === "move")?.move ?? null;
      if (move !== null) next = { plan: move.plan, atMs: nowMs + move.loadMs };
    }
    tokensMs.push(...piece.tokensMs.filter((ms) => ms <= nowMs));
    if (next === null) break;
    [plan, sinceMs, epoch] = [next.plan, nowMs, epoch + 1];
    loop.usePlan(toLoopPlan(plan, epoch), nowMs, true);
  }
  const moves = decisions.filter(({ action }) => action === "move");
  return { decisions, moves, loop, firstPlan, plan, tokensMs, planSinceMs: sinceMs, decodeMs };
}

/** Tokens per second of a plan as a simulation of it gives them, in a cluster that stays as it is at `atMs`. */
export function measurePlan(scenario: LoopScenario, plan: ModelPlan, atMs: number, forMs: number): number {
  const { tokensMs } = simulatePiece({ ...scenario, seconds: (atMs + forMs) / 1000 }, plan, 1, atMs);
  return countRate(tokensMs, atMs + forMs / 4, atMs + forMs);
}

export function countRate(tokensMs: readonly number[], fromMs: number, toMs: number): number {
  return (1000 * tokensMs.filter((ms) => ms > fromMs && ms <= toMs).length) / (toMs - fromMs);
}

function toLoopPlan({ stages }: ModelPlan, epoch: number): LoopPlan {
  return { epoch, stages: stages.map(({ node, first, end }) => ({ node, first, end })) };
}

/** The cluster with `plan` from `fromMs` to the end of the scenario, and what a coordinator would see of it. */
function simulatePiece(scenario: LoopScenario, plan: ModelPlan, epoch: number, fromMs: number) {
  const { costs, slowdowns = [], noise = 0, seconds, seed = 1 } = scenario;
  const leftS = seconds - fromMs / 1000;
  const cluster: Cluster = { ...costs.cluster, slowdowns: shift(slowdowns, fromMs / 1000, seconds) };
  const simulated = makeSimCluster({ plan, cluster, nodes: costs.nodes, noise });
  const rate = must(plan.predicted, "figures of a plan").tokens_per_s;
  const later = scenario.streams;
  const requestsOf = (streams: number, forS: number) =>
    generateWorkload({
      requests: streams + Math.ceil((rate * forS) / GEN_TOKENS),
      prompt: { type: "fixed", tokens: PROMPT_TOKENS },
      generated: { type: "fixed", tokens: GEN_TOKENS },
      arrivals: { type: "closed", streams },
      seed,
    });
  const usual = requestsOf(later?.count ?? costs.workload.streams, leftS);
  // The later streams' first requests come late.
  const seen = new Set<string>();
  const requests = usual.requests.map((request) => {
    const isFirst = !seen.has(request.client);
    seen.add(request.client);
    const isLate = later !== undefined && isFirst && seen.size > costs.workload.streams;
    return isLate ? { ...request, atMs: 1000 * later.atS - fromMs } : request;
  });
  const steps: LoopStep[] = [];
  const waits: { readonly atMs: number; readonly by: 1 | -1 }[] = [];
  const tokensMs: number[] = [];
  const arriving = new Map<string, { readonly hopMs: number; readonly bytes: number }[]>();
  simulate(
    simulated,
    { ...usual, requests },
    {
      seed: seed + epoch,
      observer: {
        onTransfer: ({ to, from, startMs, arrivedMs, bytes }) => {
          if (to === COORDINATOR) return;
          const line = arriving.get(to) ?? [];
          arriving.set(to, line);
          line.push({ hopMs: from === COORDINATOR ? Number.NaN : arrivedMs - startMs, bytes });
        },
        onService: ({ stage, node, startMs, endMs, queueMs, phase, rows, outputRows, context }) => {
          const hop = arriving.get(node)?.shift();
          const hopMs = hop === undefined || Number.isNaN(hop.hopMs) ? null : hop.hopMs;
          const times = { stage, computeMs: endMs - startMs, queueMs, hopMs, bytesIn: hop?.bytes ?? 0 };
          steps.push({ epoch, atMs: fromMs + endMs, phase, rows, context, outputRows, stages: [times] });
        },
        onArrival: (_request, atMs) => waits.push({ atMs: fromMs + atMs, by: 1 }),
        onAdmission: (_request, atMs) => waits.push({ atMs: fromMs + atMs, by: -1 }),
        onToken: (_request, _index, atMs) => tokensMs.push(fromMs + atMs),
      },
    },
  );
  steps.sort((a, b) => a.atMs - b.atMs);
  const countWaiting = (nowMs: number): number => sum(waits.filter(({ atMs }) => atMs <= nowMs).map(({ by }) => by));
  return { steps, tokensMs, countWaiting };
}

/** Disturbances as they are from `fromS` on, repetitions written out. */
function shift(slowdowns: readonly Slowdown[], fromS: number, endS: number): Slowdown[] {
  return slowdowns.flatMap((one) => {
    const times = one.everyS === null ? 1 : Math.ceil(endS / one.everyS);
    return Array.from({ length: times }, (_, i) => i * (one.everyS ?? 0)).flatMap((laterS) => {
      const untilS = one.untilS === null ? null : one.untilS + laterS - fromS;
      if (untilS !== null && untilS <= 0) return [];
      return [{ ...one, everyS: null, fromS: Math.max(0, one.fromS + laterS - fromS), untilS }];
    });
  });
}
