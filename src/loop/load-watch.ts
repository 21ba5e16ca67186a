import { median } from "../common/index.ts";
import type { LoopStep } from "./types.ts";

/** Prompts come in bursts: what is compared are medians of a few stretches of this length. */
const BLOCK_MS = 5000;
const WINDOW_BLOCKS = 4;
/** So many times the rows, or so much more of a step's computing time spent in queues, is another load. */
const ROWS_RATIO = 1.5;
const QUEUE_SHARE = 0.5;
/** Or so many more requests that wait. */
const WAITING = 2;

/** What the cluster has to do: rows of a decode step, and time in queues / time computed. */
export interface LoadLevel {
  readonly rows: number;
  readonly queueShare: number;
  /** Requests that wait for a place. */
  readonly waiting: number;
}

/** Tells another load from another node or link: whoever computes as predicted and has longer queues has more to do. */
export class LoadWatch {
  readonly #blocks: LoadLevel[] = [];
  #level: LoadLevel | null = null;
  #sinceMs: number | null = null;
  #steps = 0;
  #rows = 0;
  #queueMs = 0;
  #computeMs = 0;
  #waiting = 0;

  add(step: LoopStep): void {
    if (step.phase !== "decode") return;
    this.#sinceMs ??= step.atMs;
    if (step.atMs - this.#sinceMs >= BLOCK_MS) this.#closeBlock(step.atMs);
    this.#steps += 1;
    this.#rows += step.rows;
    for (const { queueMs, computeMs } of step.stages) {
      this.#queueMs += queueMs;
      this.#computeMs += computeMs;
    }
  }

  /** How many wait now. */
  addWaiting(count: number): void {
    this.#waiting = count;
  }

  /** @returns a change since the level that was told last, once the window is of one kind */
  look(): { readonly from: LoadLevel; readonly to: LoadLevel } | null {
    const from = this.#level;
    if (from === null || this.#blocks.length < WINDOW_BLOCKS) return null;
    const isMore = this.#blocks.every((block) => isAbove(block, from));
    const isLess = this.#blocks.every((block) => isAbove(from, block));
    if (!isMore && !isLess) return null;
    this.#level = this.#middle();
    return { from, to: this.#level };
  }

  /** A node, a link or the plan became another: queues are, too, and what they are then is the new level. */
  forget(): void {
    this.#blocks.length = 0;
    this.#level = null;
    this.#sinceMs = null;
    this.#clear();
  }

  #closeBlock(nowMs: number): void {
    if (this.#steps > 0) {
      const queueShare = this.#computeMs > 0 ? this.#queueMs / this.#computeMs : 0;
      this.#blocks.push({ rows: this.#rows / this.#steps, queueShare, waiting: this.#waiting });
      if (this.#blocks.length > WINDOW_BLOCKS) this.#blocks.shift();
      if (this.#blocks.length === WINDOW_BLOCKS) this.#level ??= this.#middle();
    }
    this.#sinceMs = nowMs;
    this.#clear();
  }

  #clear(): void {
    this.#steps = 0;
    this.#rows = 0;
    this.#queueMs = 0;
    this.#computeMs = 0;
  }

  #middle(): LoadLevel {
    return {
      rows: median(this.#blocks.map(({ rows }) => rows)),
      queueShare: median(this.#blocks.map(({ queueShare }) => queueShare)),
      waiting: median(this.#blocks.map(({ waiting }) => waiting)),
    };
  }
}

function isAbove(high: LoadLevel, low: LoadLevel): boolean {
  return (
    high.rows >= ROWS_RATIO * low.rows ||
    high.queueShare >= low.queueShare + QUEUE_SHARE ||
    high.waiting >= ROWS_RATIO * low.waiting + WAITING
  );
}
