import type { MetricDefinition } from "./types.ts";

const BOTH = ["coordinator", "worker"] as const;

/** What every process says of itself. */
export const PROCESS_METRICS = {
  noodle_build_info: {
    type: "gauge",
    owners: BOTH,
    labels: ["version", "engine_build", "role"],
    unit: "info",
    help: "Release of NoodleCore and build of the engine that this process runs.",
    formula: "1",
  },
  noodle_process_resident_memory_bytes: {
    type: "gauge",
    owners: BOTH,
    labels: ["node", "process"],
    unit: "bytes",
    help: "Resident memory: the coordinator's own and each worker's (both its processes together), or a worker's one by one.",
    formula: "RSS as the system tells; process is coordinator, worker, supervisor or stage_host",
  },
  noodle_process_cpu_seconds_total: {
    type: "counter",
    owners: BOTH,
    labels: [],
    unit: "seconds",
    help: "CPU time of the process that answers: the coordinator, or a worker's supervisor.",
    formula: "user + system time",
  },
  noodle_process_start_time_seconds: {
    type: "gauge",
    owners: BOTH,
    labels: [],
    unit: "seconds",
    help: "When the process that answers was started, in seconds since 1970.",
    formula: "now - uptime",
  },
  noodle_metrics_series_dropped_total: {
    type: "counter",
    owners: BOTH,
    labels: [],
    unit: "count",
    help: "Values that were not counted because their metric has as many label sets as it may.",
    formula: "one for each value beyond the limits of this page",
  },
} as const satisfies Readonly<Record<string, MetricDefinition>>;
