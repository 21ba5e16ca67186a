import type { InFlightBatch } from "../schedule/index.ts";
import type { PipelineState } from "./pipeline-state.ts";
import type { Session } from "./session.ts";

/** A micro-batch on its way. Used again for another when it has come back. */
export class Batch implements InFlightBatch {
  /** Its place in the pool, by which events name it. */
  readonly id: number;
  phase: "prefill" | "decode" = "decode";
  rows = 0;
  /** Rows whose logits are wanted. */
  outputRows = 0;
  slots: number[] = [];
  sessions: Session[] = [];
  /** Whether the session of the same place gets a token by it. */
  samples: boolean[] = [];
  /** Engine calls that it takes: rows, pads among them, and mean context of each. */
  callRows: number[] = [];
  callContexts: number[] = [];
  pipeline: PipelineState | null = null;
  /** Stage that it is at, or on its way to; the number of stages on its way back. */
  stage = 0;
  /** When it came to the stage. */
  receivedMs = 0;
  /** When the stage began with it. */
  startMs = 0;
  /** An event of it is still to come. */
  pending = false;
  /** Where it stands among those in flight of its pipeline. */
  place = 0;
  /** When the last stage had computed it. */
  computedMs = 0;

  constructor(id: number) {
    this.id = id;
  }

  clear(): void {
    this.rows = 0;
    this.outputRows = 0;
    this.slots.length = 0;
    this.sessions.length = 0;
    this.samples.length = 0;
    this.callRows.length = 0;
    this.callContexts.length = 0;
    this.stage = 0;
  }
}

/** Batches are taken and given back; so many exist as ever were in flight at once. */
export class BatchPool {
  readonly #all: Batch[] = [];
  readonly #free: Batch[] = [];

  take(): Batch {
    const free = this.#free.pop();
    if (free !== undefined) {
      free.clear();
      return free;
    }
    const batch = new Batch(this.#all.length);
    this.#all.push(batch);
    return batch;
  }

  give(batch: Batch): void {
    batch.pipeline = null;
    this.#free.push(batch);
  }

  at(id: number): Batch {
    return this.#all[id] as Batch;
  }
}
