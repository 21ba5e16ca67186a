import type { Batch } from "./batch.ts";
import type { LinkState } from "./link-state.ts";

/**
 * The way into a stage. It takes `window` micro-batches; each makes room again when it has been passed on behind the
 * stage and word of that has come back.
 */
export class Hop {
  readonly link: LinkState;
  /** Computed, and held until there is room; in order. */
  readonly held: Batch[] = [];
  readonly #back: LinkState;
  readonly #bytesPerFrame: number;
  readonly #bytesPerRow: number;
  readonly #outputRowsOnly: boolean;
  /** When there was room again, of the last `window` that made room. */
  readonly #roomMs: Float64Array;
  #sent = 0;
  #passed = 0;

  /** @param back the same link in the other direction */
  constructor(
    link: LinkState,
    back: LinkState,
    window: number,
    carries: {
      readonly bytesPerFrame: number;
      readonly bytesPerRow: number;
      readonly outputRowsOnly: boolean;
    },
  ) {
    this.link = link;
    this.#back = back;
    this.#roomMs = new Float64Array(window);
    this.#bytesPerFrame = carries.bytesPerFrame;
    this.#bytesPerRow = carries.bytesPerRow;
    this.#outputRowsOnly = carries.outputRowsOnly;
  }

  /** Whether it is known when the next one may leave. */
  get open(): boolean {
    return this.#sent - this.#passed < this.#roomMs.length;
  }

  /** When the next one may leave. */
  findDeparture(nowMs: number): number {
    const window = this.#roomMs.length;
    const roomMs = this.#sent < window ? 0 : (this.#roomMs[this.#sent % window] as number);
    return roomMs > nowMs ? roomMs : nowMs;
  }

  /** @returns time of arrival */
  send(batch: Batch, atMs: number): number {
    this.#sent += 1;
    const rows = this.#outputRowsOnly ? batch.outputRows : batch.rows;
    return this.link.send(atMs, this.#bytesPerFrame + rows * this.#bytesPerRow);
  }

  /** One was passed on behind the stage. @returns when the sender knows */
  pass(atMs: number): number {
    const roomMs = atMs + this.#back.latencyMs;
    this.#roomMs[this.#passed % this.#roomMs.length] = roomMs;
    this.#passed += 1;
    return roomMs;
  }
}
