import type { HookLevel, ObserveLevel, Phase } from "./levels.ts";
import type { SegmentTiming } from "./observation.ts";

/**
 * What a running cluster tells its observers: logs, metrics, traces and spans are made of these and nothing else. All
 * times `...MonoNs` are of the coordinator's monotonic clock (`process.hrtime`, as a number) unless a `nodeId` stands
 * beside them. Numbers of nanoseconds are safe integers.
 */

/** What one stage spent on one step. */
export interface StageStepRecord {
  readonly stage: number;
  readonly nodeId: string;
  readonly queueNs: number;
  readonly computeNs: number;
  readonly serializeNs: number;
  /** Estimate of the way into this stage; null while unknown. */
  readonly hopNs: number | null;
  /** Bytes of the frame that came in. */
  readonly bytesIn: number;
}

/** One micro-batch through all stages. */
export interface StepRecord {
  readonly stepId: number;
  readonly epoch: number;
  readonly requestIds: readonly string[];
  readonly phase: Phase;
  readonly rows: number;
  /** Largest context among its runs, the rows themselves included. */
  readonly contextTokens: number;
  readonly sentMonoNs: number;
  /** The last stage's answer was there; every step gets one, also one that samples nothing. */
  readonly receivedMonoNs: number;
  /** Those of `requestIds` that got a token: none of a prefill chunk before its prompt's end. */
  readonly sampledRequestIds: readonly string[];
  readonly stages: readonly StageStepRecord[];
  readonly level: ObserveLevel;
}

/** The inside of one stage in one step; comes for sampled steps only, and later than the step. */
export interface LayerRecord {
  readonly stepId: number;
  readonly epoch: number;
  readonly requestIds: readonly string[];
  readonly stage: number;
  readonly nodeId: string;
  readonly phase: Phase;
  readonly rows: number;
  readonly contextTokens: number;
  readonly level: HookLevel;
  readonly segments: readonly SegmentTiming[];
  readonly stepNs: number;
  readonly hookNs: number;
  /** Times on the worker's own monotonic clock; never subtract them from another machine's. */
  readonly arrivalNodeNs: number;
  readonly computeStartNodeNs: number;
  readonly computeEndNodeNs: number;
  readonly sentNodeNs: number;
}

export type RequestRecord =
  | {
      readonly type: "start";
      readonly requestId: string;
      readonly monoNs: number;
      readonly promptTokens: number;
      readonly maxTokens: number;
      /** Only when the operator asked for texts in the logs. */
      readonly prompt: string | null;
    }
  | {
      readonly type: "end";
      readonly requestId: string;
      readonly monoNs: number;
      /** When it was called for: what it waited for its slot counts. */
      readonly startMonoNs: number;
      /** Its first step was sent; null when none was. */
      readonly firstStepMonoNs: number | null;
      readonly firstTokenMonoNs: number | null;
      readonly promptTokens: number;
      readonly generatedTokens: number;
      /** Gaps between its tokens. */
      readonly interTokenNs: readonly number[];
      readonly finishReason: string | null;
      readonly errorCode: string | null;
      readonly temperature: number;
      readonly seed: number;
      readonly maxTokens: number;
    };

/** A measured way between the coordinator and a node, or between two stages. */
export interface LinkRecord {
  readonly from: string;
  readonly to: string;
  readonly rttNs: number;
  readonly payloadBytes: number;
  /** `to`'s monotonic clock minus `from`'s, and how far it may be off; null where it was not estimated. */
  readonly clockOffsetNs: number | null;
  readonly clockUncertaintyNs: number | null;
}

export interface NodeRecord {
  readonly nodeId: string;
  readonly name: string;
  /** `A:B`, null without a stage. */
  readonly units: string | null;
  readonly state: string;
  readonly rssBytes: number;
  readonly weightsBytes: number;
  readonly kvBytes: number;
  readonly computeBytes: number;
  readonly sessions: number;
}

export interface PlanRecord {
  readonly epoch: number;
  readonly split: string;
  readonly stages: readonly { readonly stage: number; readonly nodeId: string | null; readonly units: string }[];
  readonly reason: string;
}

/** What the cluster serves; told before the first plan. */
export interface ModelRecord {
  /** Of the whole file, all shards in order, hex. */
  readonly sourceSha256: string;
  readonly units: number;
}

/** Something that happened once: a worker joined, a stage failed, a log lost rows. */
export interface EventRecord {
  /** Dotted, stable: `worker.joined`, `worker.lost`, `stage.failed`, `log.rows_lost`, ... */
  readonly name: string;
  readonly severity: "info" | "warning" | "error";
  readonly nodeId: string | null;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** Whoever wants to know. Called on the coordinator's thread between two steps: return at once, throw nothing. */
export interface ClusterObserver {
  onRequest?(record: RequestRecord): void;
  onStep?(record: StepRecord): void;
  onLayer?(record: LayerRecord): void;
  onLink?(record: LinkRecord): void;
  onNode?(record: NodeRecord): void;
  onModel?(record: ModelRecord): void;
  onPlan?(record: PlanRecord): void;
  onEvent?(record: EventRecord): void;
}
