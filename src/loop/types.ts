import type {
  Cluster,
  ModelPlan,
  PlacementModel,
  PlacementNode,
  PlacementObjective,
  PlanWorkload,
} from "../placement/index.ts";

/**
 * `off`: nothing is watched. `advise`: decisions are said, not carried out. `auto`: a decision to move is meant to be
 * carried out by whoever asked for it.
 */
export type LoopMode = "off" | "advise" | "auto";

/** What plans are made of; the costs are the profiles', uncorrected. */
export interface LoopCosts {
  readonly model: PlacementModel;
  readonly cluster: Cluster;
  /** Nodes that a plan may use. */
  readonly nodes: readonly PlacementNode[];
  readonly objective: Extract<PlacementObjective, "throughput" | "latency">;
  readonly workload: PlanWorkload;
}

export interface LoopStage {
  readonly node: string;
  /** Half-open range of units. */
  readonly first: number;
  readonly end: number;
}

/** The plan in force. Steps of another epoch are not looked at. */
export interface LoopPlan {
  readonly epoch: number;
  readonly stages: readonly LoopStage[];
}

/** What one stage spent on one step. Times never contain another's: each was taken on one machine. */
export interface LoopStageTimes {
  /** Place in the plan. */
  readonly stage: number;
  /** Inside the engine. */
  readonly computeMs: number;
  /** From arrival to the engine's beginning. */
  readonly queueMs: number;
  /** The way into the stage; null while unknown, and into the first stage where nothing is measured. */
  readonly hopMs: number | null;
  readonly bytesIn: number;
}

/** One micro-batch as it went through stages: all of them, or those of which something is known. */
export interface LoopStep {
  readonly epoch: number;
  /** When its result was there, on the clock that `decide` is asked with. */
  readonly atMs: number;
  readonly phase: "prefill" | "decode";
  readonly rows: number;
  /** Positions before the step; with several sequences, their mean. */
  readonly context: number;
  /** Rows whose logits are wanted: without any the head does nothing. */
  readonly outputRows: number;
  readonly stages: readonly LoopStageTimes[];
}

/** The inside of one stage in one step that was looked into. */
export interface LoopLook {
  readonly epoch: number;
  /** Place in the plan. */
  readonly stage: number;
  readonly phase: "prefill" | "decode";
  readonly rows: number;
  /** Positions before the step. */
  readonly context: number;
  readonly units: readonly { readonly unit: number; readonly ms: number }[];
}

/** What is going on while a decision is made. */
export interface LoopLoad {
  /** Sessions that a change of plan would have to wait for, or leave on the old plan. */
  readonly sessions: number;
  /** Requests that wait for a place. */
  readonly waiting: number;
  /** How long the longest of the sessions is expected to take still; null where nobody knows. */
  readonly remainingMs: number | null;
}

export interface LoopOptions {
  readonly mode: LoopMode;
  /** Least predicted improvement that is worth a move. @default 0.05 */
  readonly minGain?: number;
  /** Sigma of the relative error of predictions; twice as much has to be gained. @default 0.02 */
  readonly errorRatio?: number;
  /** Least probability that the new plan is better. @default 0.9 */
  readonly minConfidence?: number;
  /** A plan in force is left alone for so long at least, and for ten times what moving takes. @default 120,000 */
  readonly dwellMs?: number;
  /** So long a change has to last at least before anything moves. @default 3,000 */
  readonly persistMs?: number;
  /** For so long a plan is expected to be of use. @default 600,000 */
  readonly horizonMs?: number;
  /** What a move brings has to be so many times what it costs. @default 2 */
  readonly costFactor?: number;
  /** Moves within `movePeriodMs` at most. @default 4 */
  readonly mostMoves?: number;
  /** @default 3,600,000 */
  readonly movePeriodMs?: number;
  /** Half-life of what was measured. @default 45,000 */
  readonly halfLifeMs?: number;
  /** At which stages' weights are fetched and loaded. @default 100,000 (100 MB/s) */
  readonly loadBytesPerMs?: number;
  /** Most time that one planning takes, s. @default 2 */
  readonly planLimitS?: number;
  /** Monotonic clock for the planner's time limit. @default one that stands still: the plan depends on the input alone */
  readonly plannerNowMs?: () => number;
}

/**
 * `measured`: enough was seen of a node or link to say how it compares with its profile. `change`: a node, a link or the
 * load became something else. `drift`: a factor has crept by more than a tenth since it was last told of. `decision`:
 * what was decided, to stay among it. `outcome`: whether a move has brought what it was to bring.
 */
export type LoopEventKind = "measured" | "change" | "drift" | "decision" | "outcome";

/** Something that the loop found or decided: one sentence, and the figures in it. */
export interface LoopEvent {
  readonly kind: LoopEventKind;
  /** Dotted and stable, for logs: `loop.node_slow`, `loop.stay`, ... */
  readonly name: string;
  readonly severity: "info" | "warning";
  readonly atMs: number;
  /** Whom it is about; null = the whole cluster. Of a link the node behind it. */
  readonly node: string | null;
  /** Names carry their units. */
  readonly figures: Readonly<Record<string, number | string | boolean | null>>;
  readonly sentence: string;
}

export interface LoopMove {
  /** Made with the corrected costs. */
  readonly plan: ModelPlan;
  /** New value / old value in the direction of better, minus 1. */
  readonly gain: number;
  readonly confidence: number;
  readonly bytes: number;
  readonly loadMs: number;
  /** Both plans' stages fit beside one another on every node; otherwise the old sessions have to end first. */
  readonly beside: boolean;
}

/** What `decide` has to say. `move` is there for `advise` and `move` alone. */
export interface LoopDecision {
  readonly action: "none" | "stay" | "advise" | "move";
  readonly event: LoopEvent;
  readonly move: LoopMove | null;
}

/** Of one node and class of its units: measured time / profile's time; without looks inside, that of the whole node. */
export interface NodeFactor {
  readonly node: string;
  readonly unitClass: string;
  readonly phase: "prefill" | "decode";
  readonly factor: number;
  /** Steps that the node's factor is from, and looks inside that the class's own share in it is from. */
  readonly samples: number;
  readonly looks: number;
}

/**
 * Of one hop: measured / written in the cluster, where nothing counts as quicker than a hop within one machine.
 * `bandwidth` 0.1 = a tenth of it.
 */
export interface LinkFactor {
  readonly from: string;
  readonly to: string;
  readonly latency: number;
  readonly bandwidth: number;
  readonly samples: number;
}

/**
 * Watches a cluster and says when another plan is worth moving to. Pure: no clock, no I/O; the same calls give the same
 * answers. One planning may run for up to `planLimitS` inside `decide`.
 */
export interface Loop {
  /** Cheap: to be called for every step. */
  observe(step: LoopStep): void;
  /** Takes a look inside a stage: from such come factors of single classes of units. */
  look(look: LoopLook): void;
  /**
   * To be called about once a second, one call at a time.
   *
   * @returns what was found and decided since the last call, in order. Decisions to stay that say the same as before
   *   are left out, and said again after ten minutes at the latest
   * @throws NoodleError as `planModel`
   */
  decide(nowMs: number, load: LoopLoad): Promise<readonly LoopDecision[]>;
  /** A plan has come into force. @param moved whether the loop asked for it: then it has to stay for a while */
  usePlan(plan: LoopPlan, nowMs: number, moved: boolean): void;
  /** Nodes have come or gone, or the load is another; what is known of those that stay is kept. */
  useCosts(costs: LoopCosts): void;
  readonly nodeFactors: readonly NodeFactor[];
  readonly linkFactors: readonly LinkFactor[];
}
