import type { SchedulePolicy } from "../schedule/index.ts";

/** The end of the links that clients are behind: it sends token ids to the first stage and gets them from the last. */
export const COORDINATOR = "@coordinator";

/** What a micro-batch costs a stage. `CostTable` makes one of a profile's cost model. */
export interface StageCost {
  /**
   * Time of one engine call. Called for every call: it should only look up.
   *
   * @param rows at least 1; 0 only where a stage that holds nothing but the head gets no row
   * @param context positions before the step, of each row's sequence (their mean)
   * @param output whether logits are wanted of any row
   */
  predictMs(phase: "prefill" | "decode", rows: number, context: number, output: boolean): number;
}

/** A slice of time in which everything on a node takes `factor` times as long: from `atMs` to the next one. */
export interface Slowdown {
  readonly atMs: number;
  /** 1 = as profiled. */
  readonly factor: number;
}

export interface SimNode {
  readonly id: string;
  /** Ascending in time. @default none */
  readonly slowdowns?: readonly Slowdown[];
  /** Spread of a call's time: sigma of its logarithm. @default 0 */
  readonly noise?: number;
}

/** Lost messages are sent again, and hold up what is behind them. */
export interface Loss {
  /** Of all messages. */
  readonly ratio: number;
  /** Mean length of a spell in which they are lost; 0 = each message for itself. */
  readonly burstMs: number;
  /** Until a lost one is sent again. */
  readonly retransmitMs: number;
}

export interface LinkChange {
  readonly atMs: number;
  readonly latencyMs: number;
  readonly bytesPerMs: number;
}

/** One direction of a link. Bytes leave one after another; they arrive in the order in which they left. */
export interface SimLink {
  readonly from: string;
  readonly to: string;
  readonly latencyMs: number;
  readonly bytesPerMs: number;
  /** Standard deviation of what comes on top of the latency: lognormal, and like that of the message before. @default 0 */
  readonly jitterMs?: number;
  /** @default none */
  readonly loss?: Loss;
  /** Ascending in time. @default none */
  readonly changes?: readonly LinkChange[];
}

export interface SimStage {
  readonly node: string;
  /** Half-open range of units, for reports. */
  readonly first: number;
  readonly end: number;
  readonly cost: StageCost;
  /** What the hop in front of the stage carries. */
  readonly bytesPerRow: number;
  /** Header, checksum and framing of each micro-batch. */
  readonly bytesPerFrame: number;
  /** The last block lies before this stage: only rows whose logits are wanted come. */
  readonly outputRowsOnly: boolean;
  readonly kvBytesPerToken: number;
}

/** A plan that can be run: stages one behind another, and how their work is scheduled. */
export interface SimPipeline {
  readonly stages: readonly SimStage[];
  readonly policy: SchedulePolicy;
  /** Tokens of one session at most. */
  readonly contextTokens: number;
  /** Tokens of all sessions together that the tightest stage has KV for; null = `slots` times `contextTokens`. */
  readonly kvTokens: number | null;
  /** Micro-batches that each hop takes before the first of them is passed on behind it. */
  readonly window: number;
  /** What a micro-batch's tokens take on their way to the coordinator. */
  readonly resultBytesPerFrame: number;
  readonly resultBytesPerRow: number;
  /** From a session's slot to its first row: what opening it on all stages takes. */
  readonly openMs: number;
}

/**
 * Something that happens to the cluster.
 *
 * `fail`: a node stops and its KV is gone; after `detectMs` the coordinator knows, after another `pauseMs` the sessions'
 * texts are read again on `pipelines` (the same plan when absent: the node came back).
 *
 * `plan`: a new plan. `beside`: for new sessions, while old ones finish on the old plan. `drain`: when the old sessions
 * have ended, after `pauseMs`. `move`: when nothing is in flight, after `pauseMs`; sessions keep their KV or read again.
 */
export type Incident =
  | {
      readonly type: "fail";
      readonly atMs: number;
      readonly node: string;
      readonly detectMs: number;
      readonly pauseMs: number;
      readonly pipelines?: readonly SimPipeline[];
    }
  | {
      readonly type: "plan";
      readonly atMs: number;
      readonly pipelines: readonly SimPipeline[];
      readonly mode: "beside" | "drain" | "move";
      readonly pauseMs: number;
      readonly keepKv: boolean;
    };

/** Everything that is simulated but the workload. Pipelines share nodes and links where they name the same. */
export interface SimCluster {
  readonly nodes: readonly SimNode[];
  /** Of each pair that a pipeline uses; the coordinator's id is `COORDINATOR`. */
  readonly links: readonly SimLink[];
  /** Of pairs that are not in `links`. @default no latency, no limit */
  readonly defaultLink?: { readonly latencyMs: number; readonly bytesPerMs: number };
  /** Usually one; sessions go to the one with the most free slots. */
  readonly pipelines: readonly SimPipeline[];
  readonly incidents?: readonly Incident[];
}

/** A request of a workload. */
export interface SimRequest {
  /** When it comes; of a closed loop: how long after the one before it in its stream has ended. */
  readonly atMs: number;
  readonly promptTokens: number;
  readonly genTokens: number;
  /** Whose it is. */
  readonly client: string;
  /** Names of the prompt's blocks of `blockTokens`, in order: prompts that begin with the same blocks begin alike. */
  readonly blocks?: readonly number[];
}

/**
 * `open`: requests come when they come. `closed`: each client sends its next one when its last one has ended.
 */
export interface Workload {
  readonly loop: "open" | "closed";
  /** @default 512, as in Mooncake's traces */
  readonly blockTokens?: number;
  /** Of an open loop in order of `atMs`; of a closed one, each client's in its order. */
  readonly requests: readonly SimRequest[];
}
