import { sayBytes } from "../profile/index.ts";
import type { ChangeHistory } from "./change-history.ts";
import { Journal } from "./journal.ts";
import type { LoopCosts, LoopDecision, LoopLoad, LoopOptions, LoopPlan } from "./types.ts";
import { costOfMoving, describeMove, estimateConfidence, type Weighed, weighMove } from "./weigh-move.ts";
import { round, saySeconds, sayShare } from "./words.ts";

/** Plans are made anew at most so often, and only if a factor has changed by so much since. */
const PLAN_EVERY_MS = 3000;
const WORTH_PLANNING = 0.02;
/** A plan in force is left alone for so many times what moving takes. */
const DWELL_LOADS = 10;

export interface DecisionInput {
  readonly nowMs: number;
  readonly load: LoopLoad;
  readonly plan: LoopPlan;
  /** Corrected. */
  readonly costs: LoopCosts;
  readonly factors: readonly number[];
  readonly draw: () => LoopCosts;
}

/** Whether a better plan is worth moving to now. */
export class Decider {
  readonly #options: LoopOptions;
  readonly #history: ChangeHistory;
  readonly #journal = new Journal();
  readonly #moves: number[] = [];
  #weighed: Weighed | null = null;
  #confidence: number | null = null;
  #factors: readonly number[] | null = null;
  #plannedMs = Number.NEGATIVE_INFINITY;
  #worthSinceMs: number | null = null;
  #planSinceMs = Number.NEGATIVE_INFINITY;
  /** What was asked for, until it is in force. */
  #asked: { readonly atMs: number; readonly gain: number } | null = null;

  constructor(options: LoopOptions, history: ChangeHistory) {
    this.#options = options;
    this.#history = history;
  }

  /** @returns the gain that the move was decided for; null where the loop did not ask for it */
  usePlan(nowMs: number, moved: boolean): number | null {
    const gain = moved ? (this.#asked?.gain ?? null) : null;
    if (moved) {
      this.#planSinceMs = nowMs;
      this.#moves.push(nowMs);
    }
    this.#asked = null;
    this.reconsider();
    return gain;
  }

  reconsider(): void {
    this.#factors = null;
    this.#worthSinceMs = null;
  }

  async decide(input: DecisionInput): Promise<LoopDecision | null> {
    const { nowMs, plan, costs, factors } = input;
    // A move that was asked for and never came is asked for again.
    if (this.#asked !== null && nowMs - this.#asked.atMs < (this.#options.dwellMs ?? 120_000)) return null;
    if (nowMs - this.#plannedMs >= PLAN_EVERY_MS && this.#isOutOfDate(factors)) {
      this.#plannedMs = nowMs;
      this.#factors = factors;
      this.#confidence = null;
      this.#weighed = await weighMove(costs, plan.stages, this.#options);
    }
    const weighed = this.#weighed;
    if (weighed === null) return this.#stay(input, null, "no-plan", "no plan fits any more", {});
    return this.#judge(input, weighed);
  }

  #isOutOfDate(factors: readonly number[]): boolean {
    const old = this.#factors;
    return (
      old === null ||
      old.length !== factors.length ||
      factors.some((factor, i) => Math.abs(Math.log(factor / (old[i] ?? factor))) > WORTH_PLANNING)
    );
  }

  #judge(input: DecisionInput, weighed: Weighed): LoopDecision | null {
    const { nowMs, load, plan, draw } = input;
    const {
      minGain = 0.05,
      errorRatio = 0.02,
      minConfidence = 0.9,
      dwellMs = 120_000,
      persistMs = 3000,
      horizonMs = 600_000,
      costFactor = 2,
      mostMoves = 4,
      movePeriodMs = 3_600_000,
    } = this.#options;
    const leastGain = Math.max(minGain, 2 * errorRatio);
    const { gain, loadMs, now } = weighed;
    if (weighed.sameStages || gain < leastGain) {
      this.#worthSinceMs = null;
      const words = weighed.sameStages
        ? "the plan in force is still the best"
        : `the best plan would bring ${sayShare(gain)}, less than the ${sayShare(leastGain)} that a move has to bring`;
      return this.#stay(input, weighed, weighed.sameStages ? "best" : "gain", words, { least_gain: round(leastGain) });
    }
    this.#worthSinceMs ??= nowMs;
    this.#confidence ??= estimateConfidence(weighed, plan.stages, draw);
    const confidence = this.#confidence;
    const bringsMs = gain * horizonMs;
    const costMs = costOfMoving(weighed, load);
    const lastedMs = nowMs - Math.max(this.#worthSinceMs, this.#history.lastMs);
    const requiredMs = this.#history.requiredMs(Math.max(persistMs, loadMs), nowMs);
    const dwelledMs = nowMs - this.#planSinceMs;
    const dwellRequiredMs = Math.max(dwellMs, DWELL_LOADS * loadMs);
    const moves = this.#moves.filter((atMs) => nowMs - atMs < movePeriodMs).length;
    const figures = {
      confidence: round(confidence),
      lasted_ms: round(lastedMs),
      required_ms: round(requiredMs),
      cost_ms: round(costMs),
      brings_ms: round(bringsMs),
      moves,
    };
    const would = `${weighed.plan.split ?? ""} on ${weighed.plan.order.join(", ")} would bring ${sayShare(gain)}`;
    const hold = (reason: string, words: string): LoopDecision | null =>
      this.#stay(input, weighed, reason, `${would}, but ${words}`, figures);
    // A plan that cannot go on has nothing to wait for.
    if (now !== null) {
      if (confidence < minConfidence) {
        return hold("confidence", `it is better with a probability of ${sayShare(confidence)} only`);
      }
      if (bringsMs <= costFactor * costMs) {
        return hold(
          "cost",
          `moving costs ${saySeconds(costMs)} of work against ${saySeconds(bringsMs)} that it brings`,
        );
      }
      if (lastedMs < requiredMs) {
        return hold("persist", `what changed has to last for ${saySeconds(requiredMs)} first`);
      }
      if (dwelledMs < dwellRequiredMs) {
        return hold("dwell", `the plan in force is kept for ${saySeconds(dwellRequiredMs)} at least`);
      }
      if (moves >= mostMoves) {
        return hold("moves", `there were ${moves} moves within ${saySeconds(movePeriodMs)}, which is the limit`);
      }
    }
    return this.#go(input, weighed, confidence, costMs, figures);
  }

  #go(
    { nowMs, load }: DecisionInput,
    weighed: Weighed,
    confidence: number,
    costMs: number,
    figures: Readonly<Record<string, number>>,
  ): LoopDecision | null {
    const { plan, gain, bytes, loadMs, beside } = weighed;
    const isMove = this.#options.mode === "auto";
    if (isMove) this.#asked = { atMs: nowMs, gain };
    const how = beside
      ? "new sessions go there while the old ones end"
      : `${load.sessions} session${load.sessions === 1 ? "" : "s"} have to end first`;
    const decision: LoopDecision = {
      action: isMove ? "move" : "advise",
      move: describeMove(weighed, confidence),
      event: {
        kind: "decision",
        name: isMove ? "loop.move" : "loop.advise",
        severity: isMove ? "info" : "warning",
        atMs: nowMs,
        node: null,
        figures: {
          ...figures,
          gain: round(gain),
          split: plan.split,
          order: plan.order.join(","),
          bytes,
          load_ms: round(loadMs),
          beside,
        },
        sentence: `${isMove ? "moving" : "a move is advised"} to ${plan.split ?? ""} on ${plan.order.join(", ")}: ${sayShare(gain)} more at a confidence of ${sayShare(confidence)}, for ${sayBytes(bytes)} to load in ${saySeconds(loadMs)} and ${saySeconds(costMs)} of work; ${how}`,
      },
    };
    return this.#journal.filter(decision, `${decision.action} ${plan.split ?? ""} ${plan.order.join(" ")}`);
  }

  #stay(
    { nowMs }: DecisionInput,
    weighed: Weighed | null,
    reason: string,
    words: string,
    figures: Readonly<Record<string, number>>,
  ): LoopDecision | null {
    const decision: LoopDecision = {
      action: "stay",
      move: null,
      event: {
        kind: "decision",
        name: "loop.stay",
        severity: "info",
        atMs: nowMs,
        node: null,
        figures: { reason, gain: weighed === null ? null : round(weighed.gain), ...figures },
        sentence: `staying: ${words}`,
      },
    };
    return this.#journal.filter(decision, `stay ${reason}`);
  }
}
