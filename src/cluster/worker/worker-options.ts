import type { StageFileSource } from "../stage-files/index.ts";
import type { StageReportInit } from "./coordinator-link.ts";
import type { WorkerMember } from "./member.ts";
import type { EngineChoice } from "./engine-messages.ts";
import type { WorkerPlatform } from "./worker-platform.ts";

export interface WorkerOptions {
  /** host:port of the coordinator. */
  readonly join: string;
  /** Its membership, which ends with the worker. @default undefined: a cluster in plaintext */
  readonly member?: WorkerMember | undefined;
  /** @default "127.0.0.1" */
  readonly listenHost?: string;
  /** 0 = any free port. @default 0 */
  readonly listenPort?: number;
  /** host:port as peers reach this worker. @default listenHost and the port that was bound */
  readonly advertise?: string;
  /** @default the host's name */
  readonly name?: string;
  readonly dataDirectory: string;
  /** Who this worker is, for its next start. @default in the data directory, for the first of those that share it */
  readonly identityDirectory?: string;
  /** `--memory`. @default what is free at the start */
  readonly memoryLimitBytes?: number;
  readonly threads: number;
  readonly engine: EngineChoice;
  readonly noodlecoreVersion: string;
  readonly stageFiles: StageFileSource;
  /** Ends the worker when it loses a coordinator that it was registered with. @default false */
  readonly exitWithCoordinator?: boolean;
  /** @default this machine */
  readonly platform?: WorkerPlatform;
  /** Longest time until the first registration. @default 10000 */
  readonly joinTimeoutMs?: number;
  readonly onReport?: (report: StageReportInit) => void;
  /** Something that a person at the terminal may want to know. */
  readonly onNotice?: (text: string) => void;
}
