/** A metric of prom-client, reduced to what a family needs of it. */
export interface LabelledMetric<Child> {
  labels(...values: string[]): Child;
  remove(...values: string[]): void;
  reset(): void;
}

/** A label's value is part of every scrape: a peer's overlong name must not be. */
const MAX_LABEL_CHARS = 128;

/**
 * A metric with the children that it has so far, at most `limit` of them. Looking a child up once and keeping it makes
 * counting cheap.
 */
export class Family<Child> {
  readonly #metric: LabelledMetric<Child>;
  readonly #limit: number;
  readonly #onDropped: () => void;
  readonly #children = new Map<string, Child>();

  constructor(metric: LabelledMetric<Child>, limit: number, onDropped: () => void) {
    this.#metric = metric;
    this.#limit = limit;
    this.#onDropped = onDropped;
  }

  /** Label values in the order of the definition. Undefined, and counted, when there are too many already. */
  child(...values: readonly string[]): Child | undefined {
    const key = writeKey(values);
    const known = this.#children.get(key);
    if (known !== undefined) return known;
    if (this.#children.size >= this.#limit) {
      this.#onDropped();
      return undefined;
    }
    const child = this.#metric.labels(...values.map(shorten));
    this.#children.set(key, child);
    return child;
  }

  /** Forgets one label set: it is no longer shown, and its place is free. */
  remove(...values: readonly string[]): void {
    if (this.#children.delete(writeKey(values))) this.#metric.remove(...values.map(shorten));
  }

  /** Forgets all label sets. */
  clear(): void {
    this.#children.clear();
    this.#metric.reset();
  }
}

function writeKey(values: readonly string[]): string {
  return values.length === 1 ? shorten(values[0] ?? "") : JSON.stringify(values.map(shorten));
}

function shorten(value: string): string {
  return value.length <= MAX_LABEL_CHARS ? value : value.slice(0, MAX_LABEL_CHARS);
}
