import type { Incident, SimStage } from "./types.ts";

/** A micro-batch that a node has computed, or lost. */
export interface ServiceSlice {
  readonly pipeline: number;
  readonly stage: number;
  readonly node: string;
  readonly units: SimStage;
  readonly startMs: number;
  readonly endMs: number;
  /** What it waited for the node. */
  readonly queueMs: number;
  readonly phase: "prefill" | "decode";
  readonly rows: number;
  /** Rows whose logits are wanted. */
  readonly outputRows: number;
  /** Positions before the step, of its rows' sequences on average. */
  readonly context: number;
  /** Ids of the sessions, `r` and the index of their request. */
  readonly sessions: readonly string[];
}

/** A micro-batch on a link. `leftMs`: its last byte has left; until `arrivedMs` it is on its way. */
export interface TransferSlice {
  readonly pipeline: number;
  readonly from: string;
  readonly to: string;
  readonly startMs: number;
  readonly leftMs: number;
  readonly arrivedMs: number;
  readonly bytes: number;
  readonly phase: "prefill" | "decode";
  readonly rows: number;
}

/** Who wants to see more than the figures. Nothing that is handed over changes afterwards. */
export interface SimObserver {
  onService?(slice: ServiceSlice): void;
  onTransfer?(slice: TransferSlice): void;
  /** The coordinator has a token. @param index from 0 */
  onToken?(request: number, index: number, atMs: number): void;
  onArrival?(request: number, atMs: number): void;
  /** It has its slot. */
  onAdmission?(request: number, atMs: number): void;
  /** `refused`: it would not fit even alone. */
  onEnd?(request: number, atMs: number, how: "finished" | "refused"): void;
  /** `begins`, what follows is known at the coordinator (`noticed`), and it goes on (`resumed`). */
  onIncident?(incident: Incident, what: "begins" | "noticed" | "resumed", atMs: number): void;
}
