export type { BuildInfo } from "./build-info.ts";
export { type ClusterFigures, CoordinatorMetrics, type CoordinatorMetricsOptions } from "./coordinator-metrics.ts";
export { MAX_SERIES, type MetricDefinition, METRICS } from "./definitions.ts";
export type { PredictStageMs } from "./drift.ts";
export type { LiveDocument, LiveStage } from "./live-document.ts";
export { LiveStats, type LiveStatsOptions } from "./live-stats.ts";
export { WorkerMetrics } from "./worker-metrics.ts";
