import { CLUSTER_METRICS } from "./definitions/cluster.ts";
import { PROCESS_METRICS } from "./definitions/process.ts";
import { REQUEST_METRICS } from "./definitions/requests.ts";
import { STEP_METRICS } from "./definitions/steps.ts";
import type { MetricDefinition } from "./definitions/types.ts";
import { WORKER_METRICS } from "./definitions/worker.ts";

export type { MetricDefinition, MetricOwner } from "./definitions/types.ts";

/** Every metric there is. Instruments, `/metrics` and docs/metrics.md are compared with this table. */
export const METRICS = {
  ...REQUEST_METRICS,
  ...STEP_METRICS,
  ...CLUSTER_METRICS,
  ...WORKER_METRICS,
  ...PROCESS_METRICS,
} as const satisfies Readonly<Record<string, MetricDefinition>>;

export type MetricName = keyof typeof METRICS;

type NameOf<Type extends MetricDefinition["type"]> = {
  [Name in MetricName]: (typeof METRICS)[Name]["type"] extends Type ? Name : never;
}[MetricName];

export type CounterName = NameOf<"counter">;
export type GaugeName = NameOf<"gauge">;
export type HistogramName = NameOf<"histogram">;

/** Most label sets of one metric; values beyond are counted in `noodle_metrics_series_dropped_total` and not shown. */
export const MAX_SERIES = 128;
