/** What a registry of prom-client asks of a metric. */
export interface ReadableMetric {
  readonly name: string;
  readonly help: string;
  readonly type: "histogram";
  readonly aggregator: "sum";
  readonly values: readonly {
    readonly metricName: string;
    readonly labels: Readonly<Record<string, string | number>>;
    readonly value: number;
  }[];
}

/** One series of a histogram: counting costs a short search and three additions. */
export class HistogramCell {
  readonly counts: Float64Array;
  readonly #bounds: readonly number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.counts = new Float64Array(bounds.length);
  }

  observe(value: number): void {
    // What is no number would spoil the sum for good.
    if (!Number.isFinite(value)) return;
    this.sum += value;
    this.count += 1;
    const bounds = this.#bounds;
    for (let at = 0; at < bounds.length; at++) {
      if (value > (bounds[at] ?? 0)) continue;
      this.counts[at] = (this.counts[at] ?? 0) + 1;
      return;
    }
  }
}

/**
 * A histogram for prom-client's registry. Its own looks labels up and checks them at every value, which at a dozen values
 * for each step would cost more than all the rest of observing.
 */
export class CellHistogram {
  readonly name: string;
  readonly #help: string;
  readonly #labelNames: readonly string[];
  readonly #bounds: readonly number[];
  readonly #cells = new Map<
    string,
    { readonly labels: Readonly<Record<string, string>>; readonly cell: HistogramCell }
  >();

  constructor(name: string, help: string, labelNames: readonly string[], bounds: readonly number[]) {
    this.name = name;
    this.#help = help;
    this.#labelNames = labelNames;
    this.#bounds = bounds;
    // As usual, what has no labels is there from the start.
    if (labelNames.length === 0) this.labels();
  }

  /** The series with these label values, in the order of the names. */
  labels(...values: string[]): HistogramCell {
    const key = JSON.stringify(values);
    const known = this.#cells.get(key);
    if (known !== undefined) return known.cell;
    const labels = Object.fromEntries(this.#labelNames.map((name, at) => [name, values[at] ?? ""]));
    const cell = new HistogramCell(this.#bounds);
    this.#cells.set(key, { labels, cell });
    return cell;
  }

  remove(...values: string[]): void {
    this.#cells.delete(JSON.stringify(values));
  }

  reset(): void {
    this.#cells.clear();
  }

  /** Series that have counted something, or have no labels. */
  get(): Promise<ReadableMetric> {
    const values: ReadableMetric["values"][number][] = [];
    for (const { labels, cell } of this.#cells.values()) {
      if (cell.count === 0 && this.#labelNames.length > 0) continue;
      let below = 0;
      for (const [at, bound] of this.#bounds.entries()) {
        below += cell.counts[at] ?? 0;
        values.push({ metricName: `${this.name}_bucket`, labels: { ...labels, le: bound }, value: below });
      }
      values.push(
        { metricName: `${this.name}_bucket`, labels: { ...labels, le: "+Inf" }, value: cell.count },
        { metricName: `${this.name}_sum`, labels, value: cell.sum },
        { metricName: `${this.name}_count`, labels, value: cell.count },
      );
    }
    return Promise.resolve({ name: this.name, help: this.#help, type: "histogram", aggregator: "sum", values });
  }
}
