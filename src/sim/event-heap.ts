const FIRST_CAPACITY = 256;
/** Bits of an event's kind; the rest of 32 is its subject. */
const KIND_BITS = 4;
const KIND_MASK = (1 << KIND_BITS) - 1;

/**
 * What is still to happen, earliest first; of the same time, what was put in first. A binary heap over parallel arrays:
 * nothing is allocated for an event.
 */
export class EventHeap {
  /** Of the event that was taken last. */
  timeMs = 0;
  kind = 0;
  subject = 0;
  #times = new Float64Array(FIRST_CAPACITY);
  #orders = new Float64Array(FIRST_CAPACITY);
  #events = new Int32Array(FIRST_CAPACITY);
  #size = 0;
  #pushed = 0;

  get size(): number {
    return this.#size;
  }

  /** @param kind 0 to 15 @param subject 0 to 2^27 - 1 */
  push(timeMs: number, kind: number, subject: number): void {
    if (this.#size === this.#times.length) this.#grow();
    const times = this.#times;
    const orders = this.#orders;
    const events = this.#events;
    const order = this.#pushed++;
    let place = this.#size++;
    // What is equally early was put in before: it stays above.
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const parentMs = times[parent] as number;
      if (parentMs <= timeMs) break;
      times[place] = parentMs;
      orders[place] = orders[parent] as number;
      events[place] = events[parent] as number;
      place = parent;
    }
    times[place] = timeMs;
    orders[place] = order;
    events[place] = (subject << KIND_BITS) | kind;
  }

  /** Takes the next event into `timeMs`, `kind` and `subject`. @returns false when there is none */
  pop(): boolean {
    if (this.#size === 0) return false;
    const times = this.#times;
    const orders = this.#orders;
    const events = this.#events;
    this.timeMs = times[0] as number;
    const event = events[0] as number;
    this.kind = event & KIND_MASK;
    this.subject = event >>> KIND_BITS;
    const size = --this.#size;
    if (size === 0) return true;
    const lastMs = times[size] as number;
    const lastOrder = orders[size] as number;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= size) break;
      let childMs = times[child] as number;
      const other = child + 1;
      if (other < size) {
        const otherMs = times[other] as number;
        if (otherMs < childMs || (otherMs === childMs && (orders[other] as number) < (orders[child] as number))) {
          child = other;
          childMs = otherMs;
        }
      }
      if (lastMs < childMs || (lastMs === childMs && lastOrder < (orders[child] as number))) break;
      times[place] = childMs;
      orders[place] = orders[child] as number;
      events[place] = events[child] as number;
      place = child;
    }
    times[place] = lastMs;
    orders[place] = lastOrder;
    events[place] = events[size] as number;
    return true;
  }

  #grow(): void {
    const capacity = 2 * this.#times.length;
    const times = new Float64Array(capacity);
    const orders = new Float64Array(capacity);
    const events = new Int32Array(capacity);
    times.set(this.#times);
    orders.set(this.#orders);
    events.set(this.#events);
    this.#times = times;
    this.#orders = orders;
    this.#events = events;
  }
}
