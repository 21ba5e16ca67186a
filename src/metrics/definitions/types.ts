/** Which process has a metric. */
export type MetricOwner = "coordinator" | "worker";

/** One metric: what its instrument is made of and what docs/metrics.md says of it. */
export interface MetricDefinition {
  readonly type: "counter" | "gauge" | "histogram";
  readonly owners: readonly MetricOwner[];
  readonly labels: readonly string[];
  /** Base unit, also in the name; what is counted where there is none. */
  readonly unit: "seconds" | "bytes" | "ratio" | "tokens" | "rows" | "steps" | "requests" | "info" | "count";
  /** One sentence: the `# HELP` line and the meaning in the document. */
  readonly help: string;
  /** How the value comes about, from the records of src/observe/records.ts or the cluster's status. */
  readonly formula: string;
  /** Histograms only. */
  readonly buckets?: readonly number[];
}
