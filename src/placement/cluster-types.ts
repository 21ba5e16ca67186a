/** What a `cluster.yaml` says, checked, defaults filled in, units converted. Plain data. */
export interface Cluster {
  readonly name: string | null;
  /** Node beside which the coordinator runs; null = beside the first stage. */
  readonly coordinator: string | null;
  readonly nodes: readonly ClusterNode[];
  readonly links: ClusterLinks;
  /** What becomes slower, and when. For simulations; plans do not look at it. */
  readonly slowdowns: readonly Slowdown[];
  /** Which nodes go away, and when. For simulations. */
  readonly failures: readonly Failure[];
}

export interface ClusterNode {
  /** Unique in the cluster. */
  readonly name: string;
  /** `real`: a machine that exists; `virtual`: one that is imagined from another's profile or from data sheets. */
  readonly kind: "real" | "virtual";
  /** host:port of its worker; null where the file names none. */
  readonly address: string | null;
  /** For weights, KV and buffers; null = what the costs say, or no limit. */
  readonly memoryBytes: number | null;
  /** Added to every engine call. */
  readonly overheadMs: number;
  readonly costs: NodeCosts;
}

export type NodeCosts =
  /** Path as written in the file; times are multiplied by `scale`. */
  | { readonly type: "profile"; readonly profile: string; readonly scale: CostScale }
  /** `calibratedBy`: profiles as written in the file; empty = all measured ones of the cluster. */
  | { readonly type: "hardware"; readonly hardware: Hardware; readonly calibratedBy: readonly string[] }
  /** A real node whose profile is given elsewhere. */
  | { readonly type: "none" };

/** 2 = twice the time. */
export interface CostScale {
  readonly decode: number;
  readonly prefill: number;
}

/** What a data sheet says of one device; `devices` alike ones share every step. */
export interface Hardware {
  readonly memoryGbPerS: number;
  readonly computeGflops: number;
  readonly devices: number;
}

export interface ClusterLinks {
  /** Of every pair without a line of its own. */
  readonly default: Link;
  readonly pairs: readonly LinkPair[];
}

/** One direction. */
export interface LinkPair {
  readonly from: string;
  readonly to: string;
  readonly link: Link;
}

export interface Link {
  /** One way, of an empty message. */
  readonly latencyMs: number;
  readonly bytesPerMs: number;
  /** Standard deviation of what comes on top of the latency. Plans do not look at it. */
  readonly jitterMs: number;
  /** Share of messages that meet loss and are sent again. Plans do not look at it. */
  readonly lossRatio: number;
  /** Mean length of a spell of loss; 0 = losses do not cluster. */
  readonly lossBurstMs: number;
}

/** Between `fromS` and `untilS` (and again every `everyS`) times of the node, or of the link, are multiplied. */
export interface Slowdown {
  readonly target:
    | { readonly type: "node"; readonly node: string }
    | { readonly type: "link"; readonly from: string; readonly to: string };
  readonly factor: number;
  readonly fromS: number;
  /** Null = for good. */
  readonly untilS: number | null;
  /** Null = once. */
  readonly everyS: number | null;
}

export interface Failure {
  readonly node: string;
  readonly atS: number;
  /** Null = it stays away. */
  readonly backAfterS: number | null;
}
