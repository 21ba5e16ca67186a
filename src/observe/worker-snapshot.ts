export interface PhaseTotals {
  /** Engine calls; answers from a kept reply are none. */
  readonly steps: number;
  readonly rows: number;
  readonly computeNs: number;
  readonly queueNs: number;
  readonly serializeNs: number;
}

/** Sums since a stage host started. */
export interface WorkerTotals {
  /** A frame does not say its phase: here a step with more than one row of a session counts as prefill. */
  readonly prefill: PhaseTotals;
  readonly decode: PhaseTotals;
  /** Of step frames. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Steps that were refused or failed. */
  readonly failedSteps: number;
}

/** A worker as its supervisor sees it. */
export interface WorkerSnapshot {
  readonly nodeId: string;
  readonly registered: boolean;
  readonly supervisorRssBytes: number;
  /** 0 while there is no host, or before its first word. */
  readonly hostRssBytes: number;
  /** Deaths of stage hosts, each of which another one follows. */
  readonly hostRestarts: number;
  /** Observations that did not get on their way to the coordinator. */
  readonly observationsDropped: number;
  readonly sessions: number;
  /** What it is to hold; null without an assignment. */
  readonly stage: {
    readonly epoch: number;
    readonly stage: number;
    /** `A:B` */
    readonly units: string;
    readonly ready: boolean;
    /** 0 until it is ready, as the two below. */
    readonly weightsBytes: number;
    readonly kvBytes: number;
    readonly computeBytes: number;
  } | null;
  /** Null before the host's first word; they begin again with another host. */
  readonly totals: WorkerTotals | null;
}
