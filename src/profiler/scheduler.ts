import { sum } from "../common/index.ts";
import type { ProfileSkip } from "../profile/index.ts";
import type { Cell } from "./cells.ts";
import { type EstimateFacts, estimateStepMs } from "./estimate.ts";
import type { SeededRandom } from "./random.ts";

/** One turn at a cell: steps with hooks and without, in this order. */
export interface Visit {
  readonly cell: Cell;
  /** true = with hooks. */
  readonly steps: readonly boolean[];
  /** What has to be warmed up before: the whole run, the cell, the turn, or nothing. */
  readonly warmUp: "run" | "cell" | "turn" | "none";
  /** When the first step of the warm-up takes longer, the turn ends there: there would be no time for the cell. */
  readonly giveUpMs: number;
}

/** What a turn brought. */
export interface VisitResult {
  readonly onMs: readonly number[];
  readonly offMs: readonly number[];
  /** Time of the one step after which the turn was given up; null when it went on. */
  readonly gaveUpMs: number | null;
  /** The whole turn, filling of contexts and discarded steps included. */
  readonly wallMs: number;
}

export interface SchedulerOptions {
  /** Most important first. */
  readonly cells: readonly Cell[];
  /** null = until every cell is settled. */
  readonly budgetMs: number | null;
  readonly facts: EstimateFacts;
  readonly random: SeededRandom;
}

/** A cell's first turn, after its warm-up: enough to be shown, should there be no time for another. */
const FIRST_TURN: readonly boolean[] = [true, false, true, true, false, true, true];
/** Steps of a first turn that are not kept: one to see how long it takes, one to learn the graph. */
const WARM_UP_STEPS = 2;
/** What a cell costs at least. */
const FIRST_STEPS = WARM_UP_STEPS + FIRST_TURN.length;
/** A cell is settled when its median is known to this, in terms of itself. */
const TARGET_ERROR_RATIO = 0.005;
const SETTLED_SAMPLES = 24;
const MAX_SAMPLES = 400;
/** Spread over the run, so that what drifts slowly hits all cells alike. */
const MIN_ROUNDS = 8;
/** Short enough that a round passes all cells soon, long enough that a change of cell is cheap. */
const TURN_MS = 60;
const MAX_PAIRS = 16;
/** A step that takes longer needs no discarded one after a change of cell: what is cold is small beside it. */
const WARM_STEP_MS = 250;
/** Kept back for what estimates get wrong. */
const RESERVE = 0.03;

interface CellState {
  readonly cell: Cell;
  readonly onMs: number[];
  readonly offMs: number[];
  visits: number;
  /** Of a later turn, beyond its kept steps: filling contexts and a discarded step. */
  overheadMs: number;
}

/**
 * Says what to measure next. First every cell gets one turn, most important first, unless the time left is not enough
 * for it. Then rounds follow: all cells that are not settled, in random order, a short turn each, until they are or the
 * time is up. Takes no clock: the caller says how much time has passed.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #waiting: Cell[];
  readonly #states: CellState[] = [];
  readonly #skipped: ProfileSkip[] = [];
  #round: CellState[] = [];

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#waiting = [...options.cells];
  }

  /** @returns null when there is nothing left to measure, or no time for it. */
  next(elapsedMs: number): Visit | null {
    for (let cell = this.#waiting.shift(); cell !== undefined; cell = this.#waiting.shift()) {
      const leftMs = this.#leftFor(elapsedMs);
      const estimateMs = this.#estimate(cell);
      if (FIRST_STEPS * estimateMs <= leftMs) {
        const warmUp = this.#states.length === 0 ? "run" : "cell";
        return { cell, steps: FIRST_TURN, warmUp, giveUpMs: leftMs / FIRST_STEPS };
      }
      this.#skip(cell, leftMs, estimateMs);
    }
    return this.#nextOfRound(elapsedMs);
  }

  record(visit: Visit, result: VisitResult): void {
    if (result.gaveUpMs !== null) {
      this.#skip(visit.cell, visit.giveUpMs * FIRST_STEPS, result.gaveUpMs);
      return;
    }
    let state = this.#states.find((each) => each.cell === visit.cell);
    if (state === undefined) {
      state = { cell: visit.cell, onMs: [], offMs: [], visits: 0, overheadMs: 0 };
      this.#states.push(state);
    }
    state.onMs.push(...result.onMs);
    state.offMs.push(...result.offMs);
    state.visits += 1;
    const keptMs = sum(result.onMs) + sum(result.offMs);
    const overheadMs = Math.max(0, result.wallMs - keptMs);
    state.overheadMs = state.visits === 1 ? overheadMs / WARM_UP_STEPS : (state.overheadMs + overheadMs) / 2;
  }

  /** How far the run is, 0 to 1: by the budget, or by the cells that are settled. */
  progress(elapsedMs: number): number {
    const settled = this.#states.filter(isSettled).length / Math.max(1, this.#options.cells.length);
    const { budgetMs } = this.#options;
    return budgetMs === null ? settled : Math.min(1, Math.max(settled, elapsedMs / budgetMs));
  }

  /** Cells that got no turn, and why. */
  get skipped(): readonly ProfileSkip[] {
    return this.#skipped;
  }

  /** Time for a new cell. The most important one is measured whatever it costs. */
  #leftFor(elapsedMs: number): number {
    const { budgetMs } = this.#options;
    if (budgetMs === null || this.#states.length === 0) return Number.POSITIVE_INFINITY;
    return Math.max(0, budgetMs * (1 - RESERVE) - elapsedMs);
  }

  #estimate(cell: Cell): number {
    const measured = this.#states.map((state) => ({ cell: state.cell, stepMs: stepMsOf(state) }));
    return estimateStepMs(cell, measured, this.#options.facts) ?? 0;
  }

  #skip(cell: Cell, leftMs: number, stepMs: number): void {
    const need = formatSeconds(stepMs * FIRST_STEPS);
    const reason = `the budget leaves ${formatSeconds(leftMs)} for it, it needs about ${need} (--budget)`;
    this.#skipped.push({ ...cell, reason });
  }

  #nextOfRound(elapsedMs: number): Visit | null {
    for (let tries = 0; tries < 2; tries++) {
      for (let state = this.#round.shift(); state !== undefined; state = this.#round.shift()) {
        const steps = this.#chooseSteps(state, elapsedMs);
        const warmUp = stepMsOf(state) > WARM_STEP_MS ? "none" : "turn";
        if (steps.length > 0) return { cell: state.cell, steps, warmUp, giveUpMs: Number.POSITIVE_INFINITY };
      }
      this.#round = this.#options.random.shuffle(this.#states.filter((state) => !isSettled(state)));
    }
    return null;
  }

  /** As many pairs as make a short turn, or as there is time for. */
  #chooseSteps(state: CellState, elapsedMs: number): readonly boolean[] {
    const { budgetMs, random } = this.#options;
    const pairMs = Math.max(0.001, medianOf(state.onMs) + medianOf(state.offMs));
    const wanted = Math.min(MAX_PAIRS, Math.max(1, Math.floor(TURN_MS / pairMs)));
    const leftMs = (budgetMs ?? Number.POSITIVE_INFINITY) * (1 - RESERVE) - elapsedMs - state.overheadMs;
    const pairs = Math.max(0, Math.min(wanted, Math.floor(leftMs / pairMs)));
    const startsOn = random.next() < 0.5;
    return Array.from({ length: 2 * pairs }, (_, index) => (index % 2 === 0) === startsOn);
  }
}

function isSettled(state: CellState): boolean {
  const { onMs, offMs, visits } = state;
  if (onMs.length >= MAX_SAMPLES) return true;
  if (visits < MIN_ROUNDS || onMs.length < SETTLED_SAMPLES || offMs.length < SETTLED_SAMPLES / 2) return false;
  return errorRatioOf(onMs) <= TARGET_ERROR_RATIO && errorRatioOf(offMs) <= TARGET_ERROR_RATIO;
}

/** Standard error of the median of samples that are normal but for outliers, in terms of the median. */
function errorRatioOf(samples: readonly number[]): number {
  const middle = medianOf(samples);
  const deviation = 1.4826 * medianOf(samples.map((sample) => Math.abs(sample - middle)));
  return middle === 0 ? 0 : (1.2533 * deviation) / Math.sqrt(samples.length) / middle;
}

function stepMsOf({ onMs, offMs }: CellState): number {
  return medianOf(onMs.length > 0 ? onMs : offMs);
}

function medianOf(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function formatSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
