import type { ErrorCode } from "../../common/index.ts";
import type { UnitRange } from "../../engine/index.ts";

/** What the cluster looks like to its coordinator. Plain data: no clock, no connection, no process. */

/** What a worker said of its machine when it registered. */
export interface NodeCapabilities {
  readonly protocolVersion: number;
  readonly noodlecoreVersion: string;
  readonly engineBuild: string;
  readonly cpuVariant: string;
  readonly cpuModel: string;
  readonly cpuFeatures: readonly string[];
  readonly cores: number;
  readonly threads: number;
  readonly memoryTotalBytes: number;
  readonly memoryFreeBytes: number;
  readonly memoryLimitBytes: number;
  readonly diskFreeBytes: number;
  readonly dataDirectory: string;
  readonly platform: string;
  readonly devices: readonly NodeDevice[];
}

export interface NodeDevice {
  readonly name: string;
  readonly kind: string;
  readonly memoryTotalBytes: number;
  readonly memoryFreeBytes: number;
}

export type NodePhase = "joining" | "loading" | "ready" | "standby" | "draining" | "lost";

export type StagePhase = "fetching" | "loading" | "ready" | "failed" | "restarting";

/** An error as data, so that a state can be compared and printed. */
export interface Fault {
  readonly code: ErrorCode;
  readonly message: string;
  readonly nodeId: string;
}

/** A worker's last words about its stage. */
export interface StageStatus {
  readonly epoch: number;
  readonly phase: StagePhase;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly weightsBytes: number;
  readonly weightsBytesReceived: number;
  readonly kvBytes: number;
  readonly computeBytes: number;
  /** Empty until the self-test ran. */
  readonly canarySha256: string;
  readonly hostPid: number;
  /** JSON of the row-class probe; empty when not yet known. */
  readonly rowClassesJson: string;
  readonly error: Fault | null;
}

export interface NodeState {
  readonly id: string;
  readonly name: string;
  /** host:port of its StageService. */
  readonly address: string;
  /** Of its supervisor. */
  readonly pid: number;
  /** Hex; a new one for every start of the worker. */
  readonly incarnation: string;
  readonly phase: NodePhase;
  /** Grows with every first registration; stages are given out in this order. */
  readonly joinOrder: number;
  /** Monotonic time of its registration. */
  readonly joinedMs: number;
  /** How often it was lost before that, as far as it is remembered. */
  readonly losses: number;
  /** Monotonic time of the last sign of life. */
  readonly lastHeardMs: number;
  readonly rssBytes: number;
  readonly sessions: number;
  readonly capabilities: NodeCapabilities;
  /** What it last reported about the stage of the current plan; null when it holds none. */
  readonly stage: StageStatus | null;
  /** Why a stage was taken from it, or why it is lost; null when nothing is wrong. */
  readonly fault: Fault | null;
  /** Units that it could not serve in this incarnation; it is not asked for them again. */
  readonly failedUnits: readonly string[];
}

export interface PlannedStage {
  readonly units: UnitRange;
  /** Holder, or null while the stage is vacant: its holder was lost or failed. */
  readonly nodeId: string | null;
  /** With which its positions were computed by a former holder; absent = as the cluster's configuration says. */
  readonly threads?: number;
}

/** What a plan's document says beside split and nodes. */
export interface PlanTerms {
  /** Of the document, hex. */
  readonly sha256: string;
  /** How steps are scheduled; null = chosen as for any plan. */
  readonly decodeInFlight: number | null;
  readonly maxDecodeRows: number | null;
  readonly prefillRows: number | null;
  readonly mixedPrefillRows: number | null;
  /** Between two micro-batches when the pipeline is full, of one through all stages and back; null = nothing is promised. */
  readonly predictedPeriodMs: number | null;
  readonly predictedLatencyMs: number | null;
  readonly predictedTokensPerSec: number | null;
}

export interface Plan {
  readonly epoch: number;
  readonly stages: readonly PlannedStage[];
  /** Null where nobody planned it: the split was given, or made by bytes. */
  readonly terms?: PlanTerms | null;
  /** Why it was made, in words; absent where something broke the one before. */
  readonly reason?: string;
  /** Stages of the plan that was left for this one: they are given out again if one of this plan's can't be served. */
  readonly fallback?: readonly PlannedStage[];
  /** What it stands in for while workers are missing: it is gone back to when they are there again. */
  readonly wanted?: readonly PlannedStage[];
}

/** A plan that was asked for and is not in force yet. */
export interface NextPlan {
  readonly plan: Plan;
  /**
   * `beside`: its stages are loaded while those in force serve; it takes over when all are ready. `drain`: nothing new
   * begins; it is given out when the last session has ended.
   */
  readonly mode: "beside" | "drain";
  /** What its holders last reported, by node. */
  readonly reports: ReadonlyMap<string, StageStatus>;
}

/** The plan before the one in force, while its last sessions run. */
export interface FormerPlan {
  readonly plan: Plan;
  readonly reports: ReadonlyMap<string, StageStatus>;
  /** What ended it before its sessions; null while nothing did. */
  readonly broken: Fault | null;
}

export interface SessionState {
  readonly id: string;
  /** KV sequence, the same on every stage. */
  readonly slot: number;
  readonly epoch: number;
  /** Its stages are gone, and it waits for others; absent while it has some. */
  readonly stranded?: { readonly sinceMs: number; readonly fault: Fault };
}

/** What does not change while a coordinator runs. */
export interface ClusterConfig {
  readonly split: readonly UnitRange[];
  readonly leaseMs: number;
  readonly protocolVersion: number;
  /** Plan epochs start above this number. */
  readonly firstEpoch: number;
  /** Engine build that workers must have; null = that of the first one. */
  readonly engineBuild: string | null;
  /** KV sequences of every stage. */
  readonly parallel: number;
  /** Threads of every stage; 0 = each worker's own choice. */
  readonly threads: number;
  /** CPU variant that every worker loads; "" = each worker's best. */
  readonly cpuVariant: string;
  /** Names of the nodes that hold the first plan's stages, in order; absent = whoever joins first. */
  readonly order?: readonly string[];
  /** Of the first plan. */
  readonly terms?: PlanTerms | null;
  /** Units, as `formatUnits` writes them, to the node that held them at the last start: it has their file. */
  readonly formerHolders?: ReadonlyMap<string, string>;
  /** A session whose stages are gone waits for others as long as this. @default 0: it ends at once */
  readonly recoveryWaitMs?: number;
  /** How units may be spread over the workers that are left; absent = a stage is given to a worker whole, or waits. */
  readonly spread?: SpreadRules;
}

/** What spreading units over workers needs to know of the model. */
export interface SpreadRules {
  /** Bytes of weights by unit. */
  readonly unitBytes: readonly number[];
  /** Units that a stage may begin with, beside 0. */
  readonly cuts: readonly number[];
}

export interface ClusterState {
  readonly config: ClusterConfig;
  readonly nodes: ReadonlyMap<string, NodeState>;
  readonly nextJoinOrder: number;
  readonly plan: Plan | null;
  /** What made the current plan unusable; null while nothing did. Only a new epoch clears it. */
  readonly broken: Fault | null;
  /** What last made a plan unusable, also after its repair; null while nothing ever did. */
  readonly lastFault: Fault | null;
  readonly next: NextPlan | null;
  readonly former: FormerPlan | null;
  /** Why the last plan that was asked for did not come into force; null when it did, and before the first. */
  readonly refused: Fault | null;
  /** Layouts that were tried without being asked for, and refused; forgotten when a worker comes. */
  readonly refusedLayouts: ReadonlySet<string>;
  /** Highest epoch that any plan has had; none is used twice. */
  readonly lastEpoch: number;
  readonly sessions: ReadonlyMap<string, SessionState>;
  /** First canary seen for each combination of units, build, variant and threads. */
  readonly canaries: ReadonlyMap<string, { readonly sha256: string; readonly nodeId: string }>;
}

export interface Registration {
  readonly nodeId: string;
  readonly name: string;
  readonly address: string;
  readonly pid: number;
  readonly incarnation: string;
  readonly capabilities: NodeCapabilities;
}

export type ClusterEvent =
  | { readonly type: "registered"; readonly registration: Registration; readonly nowMs: number }
  | {
      readonly type: "heartbeat";
      readonly nodeId: string;
      readonly incarnation: string;
      readonly rssBytes: number;
      readonly sessions: number;
      readonly nowMs: number;
    }
  | {
      readonly type: "stageReported";
      readonly nodeId: string;
      readonly incarnation: string;
      readonly stage: StageStatus;
      readonly nowMs: number;
    }
  | { readonly type: "leaving"; readonly nodeId: string; readonly incarnation: string }
  | { readonly type: "lost"; readonly nodeId: string; readonly incarnation: string; readonly fault: Fault }
  | { readonly type: "planned"; readonly plan: Plan }
  /** Another plan is wanted; the one in force stays until it can take over. */
  | { readonly type: "replanned"; readonly plan: Plan; readonly mode: NextPlan["mode"] }
  /** The streams of the next plan are open: new sessions are its. */
  | { readonly type: "switched"; readonly epoch: number }
  /** The next plan is given up. */
  | { readonly type: "replanFailed"; readonly epoch: number; readonly fault: Fault }
  /** Nothing runs on the former plan any more. */
  | { readonly type: "formerEnded"; readonly epoch: number }
  /** Every stage may still be ready, but a stream of this epoch between them is gone, and steps with it. */
  | { readonly type: "pipelineBroken"; readonly epoch: number; readonly fault: Fault }
  /** The coordinator itself was held up: silence in that time is nobody's fault. */
  | { readonly type: "lagged"; readonly lagMs: number }
  | { readonly type: "sessionOpened"; readonly session: SessionState }
  | { readonly type: "sessionClosed"; readonly sessionId: string }
  /** Its stages are gone. Only the first time counts until it has others. */
  | { readonly type: "sessionStranded"; readonly sessionId: string; readonly fault: Fault; readonly nowMs: number }
  /** It is open on the stages of this plan. */
  | { readonly type: "sessionMoved"; readonly sessionId: string; readonly epoch: number };

export type ClusterAction =
  /** Apply `planned`, then send every holder its stage. */
  | { readonly type: "assign"; readonly plan: Plan }
  /** Apply `lost`, then drop the connection. */
  | { readonly type: "expire"; readonly nodeId: string; readonly incarnation: string; readonly fault: Fault }
  /** Apply `replanned`: the plan shall follow the one in force, which serves. */
  | { readonly type: "replan"; readonly plan: Plan }
  /** Apply `sessionStranded`. */
  | { readonly type: "strand"; readonly sessionId: string; readonly fault: Fault }
  /** End the session with the error. */
  | { readonly type: "endSession"; readonly sessionId: string; readonly fault: Fault };
