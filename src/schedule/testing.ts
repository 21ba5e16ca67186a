import { must } from "../common/index.ts";
import { type CallPlace, placeRuns } from "./class-notes.ts";
import { nextFairSchedule } from "./next-fair-schedule.ts";
import type { ScheduledBatch, SchedulePolicy, ScheduledRun, ScheduleTurn, WaitingSession } from "./types.ts";

export const BASE_POLICY: SchedulePolicy = {
  stages: 2,
  decodeInFlight: 2,
  maxDecodeRows: 8,
  prefillRows: 16,
  mixedPrefillRows: 4,
  slots: 8,
  determinism: "recorded",
  align: 1,
  pairFromCells: null,
};

/** One request of a simulated load. */
export interface SimulatedRequest {
  readonly id: string;
  readonly slot: number;
  readonly client?: string;
  readonly priority?: number;
  readonly promptRows: number;
  readonly newTokens: number;
}

/** A run with where it stood in its call. */
export interface SentRun extends ScheduledRun, CallPlace {
  readonly batch: number;
  readonly phase: "prefill" | "decode";
}

interface Running extends SimulatedRequest {
  position: number;
  known: number;
  readySince: number;
}

/** Runs the policy against a pipeline that answers micro-batches in order, with nothing of a network or a clock. */
export class SimulatedPipeline {
  readonly batches: ScheduledBatch[] = [];
  readonly sent: SentRun[] = [];
  /** Decode micro-batches under way after each sending. */
  mostDecodesInFlight = 0;
  readonly #policy: SchedulePolicy;
  readonly #credits: number;
  readonly #running = new Map<string, Running>();
  readonly #inFlight: ScheduledBatch[] = [];
  #turn: ScheduleTurn | null = null;
  #count = 0;

  constructor(policy: SchedulePolicy, credits = 4) {
    this.#policy = policy;
    this.#credits = credits;
  }

  get isIdle(): boolean {
    return this.#running.size === 0;
  }

  get freeSlots(): readonly number[] {
    const taken = new Set([...this.#running.values()].map(({ slot }) => slot));
    return Array.from({ length: this.#policy.slots }, (_, slot) => slot).filter((slot) => !taken.has(slot));
  }

  join(request: SimulatedRequest): void {
    this.#count += 1;
    this.#running.set(request.id, { ...request, position: 0, known: request.promptRows, readySince: this.#count });
    this.#pump();
  }

  /** The oldest micro-batch comes back; what it gave birth to may leave. */
  answer(): void {
    const batch = this.#inFlight.shift();
    if (batch === undefined) return;
    for (const { sessionId, output } of batch.runs) {
      const session = this.#running.get(sessionId);
      if (session === undefined || output === "none") continue;
      session.known += 1;
      this.#count += 1;
      session.readySince = this.#count;
      if (session.known - session.promptRows > session.newTokens) this.#running.delete(sessionId);
    }
    this.#pump();
  }

  /** Until nothing is left to do. @throws when it does not come to an end */
  finish(): void {
    for (let round = 0; !this.isIdle; round++) {
      if (round > 100_000 || this.#inFlight.length === 0) throw new Error("the schedule stands still");
      this.answer();
    }
  }

  #pump(): void {
    const sessions = [...this.#running.values()].map(describe);
    const slotOf = (id: string): number => must(this.#running.get(id), "session").slot;
    const inFlight = this.#inFlight.map(({ phase, runs }) => ({
      phase,
      rows: runs.reduce((sum, run) => sum + run.rows, 0),
      slots: runs.flatMap(({ sessionId }) => (this.#running.has(sessionId) ? [slotOf(sessionId)] : [])),
    }));
    const credits = this.#credits - this.#inFlight.length;
    const { batches, turn } = nextFairSchedule({ sessions, inFlight, credits, turn: this.#turn }, this.#policy);
    this.#turn = turn;
    for (const batch of batches) {
      const placed = placeRuns(
        batch.runs.map(({ sessionId, rows }) => ({ slot: slotOf(sessionId), rows })),
        batch.pads,
      );
      for (const [index, run] of batch.runs.entries()) {
        const session = must(this.#running.get(run.sessionId), "session");
        session.position += run.rows;
        const place = must(placed[index], "place");
        this.sent.push({ ...run, ...place, batch: this.batches.length, phase: batch.phase });
      }
      this.batches.push(batch);
      this.#inFlight.push(batch);
    }
    const decodes = this.#inFlight.filter(({ phase }) => phase === "decode").length;
    this.mostDecodesInFlight = Math.max(this.mostDecodesInFlight, decodes);
  }
}

function describe(session: Running): WaitingSession {
  const { id, slot, client = "", priority = 0, position, known, promptRows, readySince } = session;
  return {
    id,
    slot,
    client,
    priority,
    position,
    waitingRows: known - position,
    promptRows,
    allOutputs: false,
    maxRows: null,
    readySince,
  };
}
