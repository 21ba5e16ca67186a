import { median } from "../common/index.ts";
import { probabilityBelow } from "./normal.ts";

/** Steps whose times are added up before they are judged: what happens now and then to one step shows in its place. */
const BLOCK_STEPS = 4;
const WINDOW_BLOCKS = 15;
/** Blocks after which a level is known. */
const FIRST_BLOCKS = 5;
/** Of one block, in standard deviations: what is further out counts as so much. */
const MOST_DEVIATIONS = 4;
/** A deviation of one block that is nothing yet, and the sum that is an alarm; both in standard deviations. */
const ALLOWANCE = 1;
const ALARM = 8;
/** Median absolute deviation of a normal distribution, in standard deviations. */
const MAD_OF_NORMAL = 0.6745;
const FIRST_DEVIATIONS = 8;
const FIRST_SIGMA = 0.15;
/** A change is one if so many blocks, and this share of them, are beyond the least that counts. */
const CONFIRM_BLOCKS = 6;
const CONFIRM_SHARE = 0.8;
/** What is over sooner is no change: a few steps of another kind, a collection of garbage. */
const LEAST_MS = 1000;
/** Standard error of a median / that of a mean, of a normal distribution. */
const MEDIAN_ERROR = 1.2533;

export interface RatioTrackOptions {
  readonly halfLifeMs: number;
  /** Smallest change of the ratio that is told: 1.1 = a tenth. */
  readonly leastChange: number;
  /** The spread of a block is taken as at least so much, of the logarithm. */
  readonly leastSigma: number;
}

/** The ratio became another. */
export interface RatioChange {
  readonly from: number;
  readonly to: number;
  /** When the first block of the new level began. */
  readonly sinceMs: number;
  /** Steps that it took to find. */
  readonly steps: number;
  /** That the level is another at all. */
  readonly confidence: number;
}

/**
 * Measured over predicted time, robustly: sums of four steps, the median of their last fifteen logarithms, followed with
 * a half-life in time. A two-sided CUSUM on the deviations finds when it becomes another; then the level jumps there
 * instead of creeping. Cannot be misled by single slow steps.
 */
export class RatioTrack {
  readonly #options: RatioTrackOptions;
  readonly #window: number[] = [];
  readonly #deviations: number[] = [];
  readonly #up = new Excursion(1);
  readonly #down = new Excursion(-1);
  #level: number | null = null;
  #measuredMs = 0;
  #predictedMs = 0;
  #steps = 0;
  #blockSinceMs = 0;
  #lastMs = 0;
  #samples = 0;

  constructor(options: RatioTrackOptions) {
    this.#options = options;
  }

  /** Null before the first blocks. */
  get ratio(): number | null {
    return this.#level === null ? null : Math.exp(this.#level);
  }

  /** Steps that were compared. */
  get samples(): number {
    return this.#samples;
  }

  /** Standard error of the ratio's logarithm. */
  get levelSigma(): number {
    return (MEDIAN_ERROR * this.#sigma()) / Math.sqrt(Math.max(1, this.#window.length));
  }

  /** Something may be changing that is not sure yet. */
  get suspicious(): boolean {
    return this.#up.sum > ALARM / 2 || this.#down.sum > ALARM / 2;
  }

  /** @returns a change, if with this step one is sure */
  add(atMs: number, measuredMs: number, predictedMs: number): RatioChange | null {
    if (!(measuredMs > 0 && predictedMs > 0 && Number.isFinite(measuredMs / predictedMs))) return null;
    if (this.#steps === 0) this.#blockSinceMs = atMs;
    this.#measuredMs += measuredMs;
    this.#predictedMs += predictedMs;
    this.#steps += 1;
    this.#samples += 1;
    if (this.#steps < BLOCK_STEPS) return null;
    const block = Math.log(this.#measuredMs / this.#predictedMs);
    this.forgetBlock();
    return this.#addBlock(atMs, block);
  }

  /** Predictions are so many times as long from now on, and what was measured is held against these. */
  rebase(by: number): void {
    const log = Math.log(by);
    if (this.#level !== null) this.#level -= log;
    for (const [index, block] of this.#window.entries()) this.#window[index] = block - log;
    this.#up.clear();
    this.#down.clear();
    this.forgetBlock();
  }

  /** What was begun belongs to another plan. */
  forgetBlock(): void {
    this.#measuredMs = 0;
    this.#predictedMs = 0;
    this.#steps = 0;
  }

  #addBlock(atMs: number, block: number): RatioChange | null {
    push(this.#window, block, WINDOW_BLOCKS);
    if (this.#level === null) {
      if (this.#window.length >= FIRST_BLOCKS) this.#level = median(this.#window);
      this.#lastMs = atMs;
      return null;
    }
    push(this.#deviations, Math.abs(block - this.#level), 2 * WINDOW_BLOCKS);
    const deviation = (block - this.#level) / this.#sigma();
    for (const excursion of [this.#up, this.#down]) {
      excursion.add(deviation, block, this.#blockSinceMs);
      if (excursion.sum <= ALARM) continue;
      const change = atMs - excursion.sinceMs < LEAST_MS ? null : this.#confirm(excursion);
      if (change !== null) return change;
      // Now and then a slow step is no slow node; what goes on will be asked again.
      excursion.sum = ALARM;
    }
    const followed = 1 - 2 ** (-(atMs - this.#lastMs) / this.#options.halfLifeMs);
    this.#level += followed * (median(this.#window) - this.#level);
    this.#lastMs = atMs;
    return null;
  }

  #confirm({ blocks: found, sinceMs }: Excursion): RatioChange | null {
    const blocks = [...found];
    const from = this.#level ?? 0;
    const to = median(blocks);
    const sign = Math.sign(to - from);
    const least = Math.log(this.#options.leastChange);
    const beyond = blocks.filter((block) => sign * (block - from) >= least).length;
    if (blocks.length < CONFIRM_BLOCKS || beyond < CONFIRM_SHARE * blocks.length) return null;
    const shift = Math.abs(to - from);
    const error = (MEDIAN_ERROR * this.#sigma()) / Math.sqrt(blocks.length);
    this.#level = to;
    this.#window.splice(0, this.#window.length, ...blocks);
    this.#up.clear();
    this.#down.clear();
    return {
      from: Math.exp(from),
      to: Math.exp(to),
      sinceMs,
      steps: blocks.length * BLOCK_STEPS,
      confidence: probabilityBelow(shift / error),
    };
  }

  #sigma(): number {
    // As long as little is known, the spread is taken as large.
    if (this.#deviations.length < FIRST_DEVIATIONS) return FIRST_SIGMA;
    return Math.max(this.#options.leastSigma, median(this.#deviations) / MAD_OF_NORMAL);
  }
}

/** One side of the CUSUM, with the blocks since it was last at rest. */
class Excursion {
  readonly blocks: number[] = [];
  sinceMs = 0;
  sum = 0;
  readonly #sign: 1 | -1;

  constructor(sign: 1 | -1) {
    this.#sign = sign;
  }

  add(deviation: number, block: number, sinceMs: number): void {
    const clipped = Math.max(-MOST_DEVIATIONS, Math.min(MOST_DEVIATIONS, deviation));
    const sum = Math.max(0, this.sum + this.#sign * clipped - ALLOWANCE);
    if (sum === 0) return this.clear();
    if (this.sum === 0) this.sinceMs = sinceMs;
    this.sum = sum;
    push(this.blocks, block, WINDOW_BLOCKS);
  }

  clear(): void {
    this.sum = 0;
    this.blocks.length = 0;
  }
}

function push(values: number[], value: number, most: number): void {
  values.push(value);
  if (values.length > most) values.shift();
}
