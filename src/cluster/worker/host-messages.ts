import type { Credentials } from "../../security/index.ts";
import type { BusyReading } from "../../common/index.ts";
import type { LoadedEngine, StageInfo } from "../../engine/index.ts";
import type { EngineChoice, ErrorJson } from "./engine-messages.ts";
import type { WorkerTotals } from "../../observe/index.ts";

/** What a stage host is told to hold; everything but the file's path comes from the plan. */
export interface HostAssignment {
  readonly epoch: number;
  /** Index of the stage in the pipeline. */
  readonly stage: number;
  readonly stageFile: string;
  readonly threads: number;
  readonly contextTokens: number;
  readonly parallel: number;
  readonly maxRows: number;
  /** host:port of the next stage's StageService; empty for the last stage. */
  readonly nextAddress: string;
  readonly nextNodeId: string;
  /** Empty for the first stage. @default "" */
  readonly previousNodeId?: string;
  /** The engine must be able to look into its steps. */
  readonly hooks: boolean;
  /** Stages of other epochs go on. @default false: they end */
  readonly beside?: boolean;
}

export interface HostStart {
  readonly nodeId: string;
  readonly listenHost: string;
  /** 0 = any free port. */
  readonly listenPort: number;
  readonly engine: EngineChoice;
  /** @default undefined: plaintext */
  readonly security?: HostSecurity | undefined;
}

/** Who the host is, and who is shut out of its cluster. */
export interface HostSecurity {
  readonly credentials: Credentials;
  readonly revoked: readonly string[];
}

/** Supervisor to host. */
export type HostCommand =
  | ({ readonly type: "start" } & HostStart)
  /** `Capabilities` in protobuf, for ReportCapabilities. */
  | { readonly type: "capabilities"; readonly bytes: Uint8Array }
  | { readonly type: "load"; readonly assignment: HostAssignment }
  /** Another certificate, or another one that is shut out. */
  | { readonly type: "security"; readonly security: HostSecurity }
  | { readonly type: "retire"; readonly epoch: number }
  | { readonly type: "shutdown" };

export interface LoadedStage {
  readonly epoch: number;
  readonly info: StageInfo;
  /** SHA-256 (hex) of the canary's output, equal in two runs. */
  readonly canarySha256: string;
  readonly rowClassesJson: string;
}

/** Host to supervisor. */
export type HostEvent =
  | { readonly type: "listening"; readonly port: number; readonly pid: number; readonly engine: LoadedEngine }
  | { readonly type: "startFailed"; readonly error: ErrorJson }
  | ({ readonly type: "loaded" } & LoadedStage)
  | { readonly type: "loadFailed"; readonly epoch: number; readonly error: ErrorJson }
  | {
      readonly type: "stats";
      readonly epoch: number;
      readonly sessions: number;
      readonly rssBytes: number;
      readonly observationsDropped: number;
      readonly totals: WorkerTotals;
      /** Since the host's start. */
      readonly engine: BusyReading;
    }
  /** A `WorkerMessage` with an observation in protobuf, to be passed on as it is. */
  | { readonly type: "observation"; readonly message: Uint8Array };
