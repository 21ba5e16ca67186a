import { Counter, Gauge, type Metric, Registry } from "prom-client";
import { must } from "../common/index.ts";
import {
  type CounterName,
  type GaugeName,
  type HistogramName,
  MAX_SERIES,
  type MetricDefinition,
  METRICS,
  type MetricOwner,
} from "./definitions.ts";
import { Family, type LabelledMetric } from "./family.ts";
import { CellHistogram, type HistogramCell } from "./histogram.ts";

export type GaugeChild = Gauge.Internal<string>;
export type HistogramChild = HistogramCell;

/** One series of a counter: a sum that the registry gets when somebody asks. */
export class CounterChild {
  #pending = 0;

  /** An amount that is no number or below zero would spoil the sum for good; it is left out. */
  inc(amount = 1): void {
    if (amount >= 0 && Number.isFinite(amount)) this.#pending += amount;
  }

  /** What came since the last call. */
  take(): number {
    const amount = this.#pending;
    this.#pending = 0;
    return amount;
  }
}

/** The metrics of one process, all of them registered from the start, in a registry of their own. */
export class Instruments {
  readonly #registry = new Registry();
  readonly #counters = new Map<string, Family<CounterChild>>();
  readonly #gauges = new Map<string, Family<GaugeChild>>();
  readonly #histograms = new Map<string, Family<HistogramChild>>();
  readonly #flushes: (() => void)[] = [];
  #droppedCount = 0;

  constructor(owner: MetricOwner) {
    for (const [name, definition] of Object.entries<MetricDefinition>(METRICS)) {
      if (definition.owners.includes(owner)) this.#register(name, definition);
    }
  }

  counter(name: CounterName): Family<CounterChild> {
    return must(this.#counters.get(name), name);
  }

  gauge(name: GaugeName): Family<GaugeChild> {
    return must(this.#gauges.get(name), name);
  }

  histogram(name: HistogramName): Family<HistogramChild> {
    return must(this.#histograms.get(name), name);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics in Prometheus' text format. */
  render(): Promise<string> {
    this.counter("noodle_metrics_series_dropped_total").child()?.inc(this.#droppedCount);
    this.#droppedCount = 0;
    for (const flush of this.#flushes) flush();
    return this.#registry.metrics();
  }

  #register(name: string, definition: MetricDefinition): void {
    const { help, labels } = definition;
    const options = { name, help, labelNames: [...labels], registers: [this.#registry] };
    switch (definition.type) {
      case "counter":
        this.#counters.set(name, this.#family(this.#collect(new Counter(options))));
        return;
      case "gauge":
        this.#gauges.set(name, this.#family(new Gauge(options)));
        return;
      case "histogram": {
        const histogram = new CellHistogram(name, help, labels, must(definition.buckets, `buckets of ${name}`));
        // The registry reads a metric by `name` and `get()`; its type is a closed list of the library's own classes.
        this.#registry.registerMetric(histogram as unknown as Metric);
        this.#histograms.set(name, this.#family(histogram));
        return;
      }
      default:
        definition.type satisfies never;
    }
  }

  #family<Child>(metric: LabelledMetric<Child>): Family<Child> {
    return new Family(metric, MAX_SERIES, () => {
      this.#droppedCount += 1;
    });
  }

  /** Children that keep their sums until the next scrape. */
  #collect(counter: Counter): LabelledMetric<CounterChild> {
    const children = new Map<string, { readonly values: readonly string[]; readonly child: CounterChild }>();
    this.#flushes.push(() => {
      for (const { values, child } of children.values()) {
        const amount = child.take();
        if (amount > 0) counter.labels(...values).inc(amount);
      }
    });
    return {
      labels: (...values) => {
        const child = new CounterChild();
        children.set(JSON.stringify(values), { values, child });
        return child;
      },
      remove: (...values) => {
        children.delete(JSON.stringify(values));
        counter.remove(...values);
      },
      reset: () => {
        children.clear();
        counter.reset();
      },
    };
  }
}
