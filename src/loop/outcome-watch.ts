import { median, sum } from "../common/index.ts";
import type { LoopCosts, LoopPlan, LoopStep } from "./types.ts";

/** A move is judged after so long, and after so many decode steps of each stage. */
const AFTER_MS = 30_000;
const LEAST_STEPS = 20;
const MOST_STEPS = 512;

/** What a move was to bring, and under which costs that was found. */
export interface MovePromise {
  /** The plan that is in force now. */
  readonly plan: LoopPlan;
  /** As corrected when the move was decided. */
  readonly costs: LoopCosts;
  readonly gain: number;
  readonly sinceMs: number;
}

/** Of the stage that was to take longest: times of a decode step. */
export interface MoveOutcome {
  readonly stage: number;
  readonly node: string;
  readonly predictedMs: number;
  readonly measuredMs: number;
  readonly steps: number;
}

interface StageSteps {
  readonly predictedMs: number[];
  readonly ratios: number[];
}

/** Holds the steps of a plan that was moved to against what the move was decided on. */
export class OutcomeWatch {
  readonly promise: MovePromise;
  readonly #stages: readonly StageSteps[];

  constructor(promise: MovePromise) {
    this.promise = promise;
    this.#stages = promise.plan.stages.map(() => ({ predictedMs: [], ratios: [] }));
  }

  add({ epoch, phase, rows, context, stages }: LoopStep): void {
    const { plan, costs } = this.promise;
    if (phase !== "decode" || epoch !== plan.epoch || !(rows >= 1 && context >= 0)) return;
    for (const { stage, computeMs } of stages) {
      const place = plan.stages[stage];
      const seen = this.#stages[stage];
      const node = costs.nodes.find(({ name }) => name === place?.node);
      if (place === undefined || seen === undefined || node === undefined || !(computeMs > 0)) continue;
      if (seen.ratios.length >= MOST_STEPS) continue;
      const predictedMs = node.costs.predictStage(place, { phase, rows, context }).ms;
      seen.predictedMs.push(predictedMs);
      seen.ratios.push(computeMs / predictedMs);
    }
  }

  /** Null before enough was seen. */
  judge(nowMs: number): MoveOutcome | null {
    const { plan, sinceMs } = this.promise;
    if (nowMs - sinceMs < AFTER_MS || this.#stages.some(({ ratios }) => ratios.length < LEAST_STEPS)) return null;
    const outcomes = plan.stages.flatMap(({ node }, stage): MoveOutcome[] => {
      const seen = this.#stages[stage];
      if (seen === undefined) return [];
      const predictedMs = sum(seen.predictedMs) / seen.predictedMs.length;
      const measuredMs = predictedMs * median(seen.ratios);
      return [{ stage, node, predictedMs, measuredMs, steps: seen.ratios.length }];
    });
    return outcomes.toSorted((a, b) => b.predictedMs - a.predictedMs)[0] ?? null;
  }
}
