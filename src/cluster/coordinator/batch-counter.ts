/** What was sent in one phase since the start. */
export interface BatchCounts {
  readonly batches: number;
  readonly rows: number;
}

/** Counts micro-batches and what they carry. */
export class BatchCounter {
  #decode = { batches: 0, rows: 0 };
  #prefill = { batches: 0, rows: 0 };
  #pads = 0;

  get decode(): BatchCounts {
    return { ...this.#decode };
  }

  get prefill(): BatchCounts {
    return { ...this.#prefill };
  }

  /** Dummy rows. */
  get pads(): number {
    return this.#pads;
  }

  add(phase: "prefill" | "decode", rows: number, pads: number): void {
    const counts = phase === "decode" ? this.#decode : this.#prefill;
    counts.batches += 1;
    counts.rows += rows;
    this.#pads += pads;
  }
}
