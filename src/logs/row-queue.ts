/** A row that waits to be written. */
export interface QueuedRow {
  readonly seq: number;
  readonly monoNs: number;
  readonly body: object;
  /** Estimate of its line. */
  readonly sizeBytes: number;
}

const COMPACT_AT = 1024;

/** First in, first out; both ends cost a few instructions. Its bounds are its owner's. */
export class RowQueue {
  #rows: QueuedRow[] = [];
  #head = 0;

  get length(): number {
    return this.#rows.length - this.#head;
  }

  push(row: QueuedRow): void {
    this.#rows.push(row);
  }

  /** Takes the oldest rows: one, and as many more as `maxBytes` holds. */
  take(maxBytes: number): readonly QueuedRow[] {
    let end = this.#head;
    for (let bytes = 0; end < this.#rows.length; end += 1) {
      bytes += this.#rows[end]?.sizeBytes ?? 0;
      if (bytes > maxBytes && end > this.#head) break;
    }
    const taken = this.#rows.slice(this.#head, end);
    this.#head = end;
    if (this.#head === this.#rows.length) {
      this.#rows = [];
      this.#head = 0;
    } else if (this.#head > COMPACT_AT && this.#head * 2 > this.#rows.length) {
      this.#rows = this.#rows.slice(this.#head);
      this.#head = 0;
    }
    return taken;
  }
}
