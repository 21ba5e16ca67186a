const FIRST_CAPACITY = 4096;

/** Numbers that come one by one and are looked at together. */
export class Values {
  #values = new Float64Array(FIRST_CAPACITY);
  #count = 0;

  push(value: number): void {
    if (this.#count === this.#values.length) {
      const larger = new Float64Array(2 * this.#values.length);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#count++] = value;
  }

  /** A view, valid until the next `push`. */
  get all(): Float64Array {
    return this.#values.subarray(0, this.#count);
  }
}

/** What becomes of the requests, by their index; times are NaN until something has happened. */
export class RequestRecord {
  readonly arrivedMs: Float64Array;
  readonly admittedMs: Float64Array;
  /** The last stage has computed the first token; the coordinator has it. */
  readonly firstComputedMs: Float64Array;
  readonly firstTokenMs: Float64Array;
  readonly endedMs: Float64Array;
  readonly generated: Int32Array;
  /** Times from token to token, of all requests. */
  readonly gapsMs = new Values();
  finished = 0;
  refused = 0;
  /** Sessions whose text had to be read again. */
  readAgain = 0;

  constructor(requests: number) {
    const times = (): Float64Array => new Float64Array(requests).fill(Number.NaN);
    this.arrivedMs = times();
    this.admittedMs = times();
    this.firstComputedMs = times();
    this.firstTokenMs = times();
    this.endedMs = times();
    this.generated = new Int32Array(requests);
  }
}
