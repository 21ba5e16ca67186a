import { must } from "../../common/index.ts";
import type { WorkerSnapshot } from "../../observe/index.ts";
import { type Assign, StageState } from "../../protocol/index.ts";
import type { PreparedStage } from "../stage-files/index.ts";
import type { StageReportInit } from "./coordinator-link.ts";
import type { HostAssignment, LoadedStage } from "./host-messages.ts";

/** What the coordinator wants of this worker, and how far that is. */
export class Assignment {
  readonly assign: Assign;
  readonly abort = new AbortController();
  prepared: PreparedStage | undefined;
  /** While the host holds it. */
  loaded: LoadedStage | null = null;
  /** Bytes over the network, all attempts together. */
  receivedBytes = 0;
  /** There is nothing more to do for it: the stage is served, or given up. */
  settled = false;
  deathsInLoad = 0;

  constructor(assign: Assign) {
    this.assign = assign;
  }

  get epoch(): number {
    return Number(this.assign.epoch);
  }

  takePrepared(prepared: PreparedStage): void {
    this.prepared = prepared;
    this.receivedBytes += prepared.receivedBytes;
  }

  /** The host has died: the stage's file is verified again before it is loaded again. */
  loseHost(): void {
    this.settled = false;
    this.prepared = undefined;
    this.loaded = null;
  }

  /** @param ownThreads the worker's choice, where the plan leaves it the choice (0) */
  makeHostAssignment(ownThreads: number): HostAssignment {
    const { stage, contextTokens, parallel, maxRows, nextAddress, nextNodeId, previousNodeId, hooks, beside } =
      this.assign;
    const stageFile = must(this.prepared, "stage file").path;
    const threads = this.assign.threads === 0 ? ownThreads : this.assign.threads;
    const { epoch } = this;
    const wires = { nextAddress, nextNodeId, previousNodeId, hooks, beside };
    return { epoch, stage, stageFile, threads, contextTokens, parallel, maxRows, ...wires };
  }

  makeReport(state: StageState, hostPid: number, more: StageReportInit = {}): StageReportInit {
    return {
      epoch: this.assign.epoch,
      state,
      weightsBytes: BigInt(this.prepared?.weightsBytes ?? 0),
      weightsBytesReceived: BigInt(this.receivedBytes),
      hostPid,
      ...more,
    };
  }

  makeReadyReport({ info, canarySha256, rowClassesJson }: LoadedStage, hostPid: number): StageReportInit {
    return this.makeReport(StageState.READY, hostPid, {
      weightsBytes: BigInt(info.weightsBytes),
      kvBytes: BigInt(info.kvBytes),
      computeBytes: BigInt(info.computeBufferBytes),
      canarySha256,
      rowClassesJson,
    });
  }

  describe(): NonNullable<WorkerSnapshot["stage"]> {
    const { stage, firstUnit, endUnit } = this.assign;
    const info = this.loaded?.info;
    return {
      epoch: this.epoch,
      stage,
      units: `${firstUnit}:${endUnit}`,
      ready: info !== undefined,
      weightsBytes: info?.weightsBytes ?? 0,
      kvBytes: info?.kvBytes ?? 0,
      computeBytes: info?.computeBufferBytes ?? 0,
    };
  }
}
