import type { NoodleError } from "../../common/index.ts";
import type { Admission, Generation } from "./generation.ts";
import type { Pipeline } from "./pipeline.ts";
import type { SlotBook } from "./slot-book.ts";
import { type QueueLimits, WaitingLine } from "./waiting-line.ts";

export interface AdmissionsOptions {
  readonly book: SlotBook;
  readonly queue: QueueLimits;
  /** KV sequences. */
  readonly slots: number;
  /** Null while there is none. */
  readonly pipeline: () => Pipeline | null;
  /** What comes waits in the line, and nothing begins. */
  readonly isHeld: () => boolean;
  /** Why nothing can be served now; null when it can. */
  readonly refusal: () => NoodleError | null;
}

const FIRST_HOLD_MS = 5000;
const RETRY_MS = { least: 1000, most: 60_000 };

/** Gives slots to generations: at once while some are free, else in turn. */
export class Admissions {
  readonly #options: AdmissionsOptions;
  readonly #line: WaitingLine<Generation>;
  readonly #gives = new Map<Generation, (admission: Admission) => void>();
  /** How long a slot is held, lately. */
  #holdMs = FIRST_HOLD_MS;

  constructor(options: AdmissionsOptions) {
    this.#options = options;
    this.#line = new WaitingLine(options.queue);
  }

  /** Those that wait. */
  get waiting(): number {
    return this.#line.length;
  }

  /** Resolves with a slot. @throws CLUSTER_NOT_READY, QUEUE_FULL, and what it was cancelled with */
  async admit(generation: Generation): Promise<Admission> {
    const refusal = this.#options.refusal();
    if (refusal !== null) throw refusal;
    const at = this.#line.length === 0 ? this.#place(generation) : null;
    if (at !== null) return at;
    this.#line.join(generation, this.#estimateRetryMs());
    const { slot, give } = generation.waitForSlot();
    this.#gives.set(generation, give);
    try {
      return await slot;
    } finally {
      this.#gives.delete(generation);
      this.#line.leave(generation);
    }
  }

  /** Gives out what is free. */
  admitNext(): void {
    const { book, pipeline, refusal, isHeld } = this.#options;
    while (book.hasFree && pipeline() !== null && !isHeld() && refusal() === null) {
      const generation = this.#line.next();
      if (generation === null) return;
      if (generation.isCancelled) continue;
      const admission = this.#place(generation);
      if (admission !== null) this.#gives.get(generation)?.(admission);
    }
  }

  /** Ends all that waits. */
  refuseAll(error: NoodleError): void {
    for (const generation of this.#line) generation.cancel(error);
  }

  /** A slot was held for so long. */
  learnHold(ms: number): void {
    this.#holdMs += (ms - this.#holdMs) / 8;
  }

  #place(generation: Generation): Admission | null {
    const { book, isHeld } = this.#options;
    const pipeline = this.#options.pipeline();
    const place = pipeline === null || isHeld() ? null : book.take(generation.prompt);
    return place === null || pipeline === null ? null : { ...place, pipeline };
  }

  #estimateRetryMs(): number {
    const ms = (this.#holdMs * (this.#line.length + 1)) / this.#options.slots;
    return Math.round(Math.min(RETRY_MS.most, Math.max(RETRY_MS.least, ms)));
  }
}
