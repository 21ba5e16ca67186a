import { must, NoodleError } from "../common/index.ts";
import { nextFairSchedule, type Schedule, type SchedulePolicy, type ScheduleState } from "../schedule/index.ts";
import { type Batch, BatchPool } from "./batch.ts";
import { checkCluster } from "./check-cluster.ts";
import { ClusterState } from "./cluster-state.ts";
import { DataPath } from "./data-path.ts";
import { EventHash } from "./event-hash.ts";
import { EventHeap } from "./event-heap.ts";
import { EVENT } from "./events.ts";
import { fillBatch } from "./fill-batch.ts";
import { Incidents } from "./incidents.ts";
import type { SimObserver } from "./observer.ts";
import type { PipelineState } from "./pipeline-state.ts";
import { RequestRecord } from "./record.ts";
import { Session } from "./session.ts";
import { WaitingLine } from "./waiting-line.ts";
import type { SimCluster, Workload } from "./types.ts";
import { WorkloadQueue } from "./workload-queue.ts";

export interface SimulationOptions {
  /** @default 1 */
  readonly seed?: number;
  readonly observer?: SimObserver;
  /**
   * Sends all that it wants to send as far as there is room: it is asked again when something else than room changes.
   *
   * @default the serving runtime's own, `nextFairSchedule`
   */
  readonly schedule?: (state: ScheduleState, policy: SchedulePolicy) => Schedule;
}

/** What is left when a simulation has ended. */
export interface SimulationOutcome {
  readonly record: RequestRecord;
  readonly cluster: ClusterState;
  readonly line: WaitingLine;
  readonly events: number;
  readonly eventHash: string;
  /** When the last event happened. */
  readonly endMs: number;
}

/**
 * Runs a workload on a cluster, event by event, until every request has ended. Pure: the same input and seed give the
 * same events, in the same order, on every machine.
 *
 * @throws SIMULATION_INVALID, PLAN_INVALID for a cluster or workload without sense
 */
export function runSimulation(
  cluster: SimCluster,
  workload: Workload,
  options: SimulationOptions = {},
): SimulationOutcome {
  checkCluster(cluster);
  return new Simulation(cluster, workload, options).run();
}

class Simulation {
  readonly #heap = new EventHeap();
  readonly #hash = new EventHash();
  readonly #pool = new BatchPool();
  readonly #queue: WorkloadQueue;
  readonly #record: RequestRecord;
  readonly #cluster: ClusterState;
  readonly #path: DataPath;
  readonly #line: WaitingLine;
  readonly #incidents: Incidents;
  readonly #observer: SimObserver;
  readonly #schedule: (state: ScheduleState, policy: SchedulePolicy) => Schedule;
  readonly #sessions: (Session | undefined)[];
  #nowMs = 0;
  #events = 0;
  /** Orders what became ready at the same time. */
  #readyCount = 0;

  constructor(cluster: SimCluster, workload: Workload, options: SimulationOptions) {
    const seed = options.seed ?? 1;
    this.#observer = options.observer ?? {};
    this.#schedule = options.schedule ?? nextFairSchedule;
    this.#queue = new WorkloadQueue(workload);
    this.#record = new RequestRecord(workload.requests.length);
    this.#sessions = new Array<Session | undefined>(workload.requests.length).fill(undefined);
    this.#cluster = new ClusterState(cluster, seed);
    this.#path = new DataPath(this.#heap, this.#pool, this.#observer);
    this.#line = new WaitingLine();
    this.#incidents = new Incidents(cluster.incidents ?? [], {
      heap: this.#heap,
      cluster: this.#cluster,
      path: this.#path,
      line: this.#line,
      record: this.#record,
      observer: this.#observer,
      admit: () => this.#admit(),
      place: (session, pipeline, keptTokens) => this.#place(session, pipeline, keptTokens),
    });
  }

  run(): SimulationOutcome {
    const heap = this.#heap;
    this.#incidents.announce();
    for (const { request, atMs } of this.#queue.begin()) heap.push(atMs, EVENT.arrive, request);
    while (heap.pop()) {
      this.#nowMs = heap.timeMs;
      this.#events += 1;
      this.#hash.add(heap.timeMs, heap.kind, heap.subject);
      this.#handle(heap.kind, heap.subject);
    }
    const { finished, refused } = this.#record;
    const missing = this.#queue.requests.length - finished - refused;
    if (missing > 0) throw new NoodleError("INTERNAL", `nothing more happens, and ${missing} requests have not ended`);
    return {
      record: this.#record,
      cluster: this.#cluster,
      line: this.#line,
      events: this.#events,
      eventHash: this.#hash.toString(),
      endMs: this.#nowMs,
    };
  }

  #handle(kind: number, subject: number): void {
    switch (kind) {
      case EVENT.receive:
      case EVENT.computed:
      case EVENT.result:
        return this.#move(kind, this.#pool.at(subject));
      case EVENT.room: {
        const pipeline = must(this.#cluster.pipelines[subject], "pipeline");
        pipeline.credits += 1;
        return this.#pump(pipeline);
      }
      case EVENT.arrive:
        return this.#arrive(subject);
      case EVENT.opened:
        return this.#open(must(this.#sessions[subject], "session"));
      case EVENT.incident:
        return this.#incidents.begin(subject, this.#nowMs);
      case EVENT.notice:
        return this.#incidents.notice(subject, this.#nowMs);
      default:
        return this.#incidents.resume(subject, this.#nowMs);
    }
  }

  #move(kind: number, batch: Batch): void {
    batch.pending = false;
    const pipeline = must(batch.pipeline, "pipeline of a batch");
    if (kind === EVENT.computed) this.#path.computed(batch, this.#nowMs);
    else if (!pipeline.alive) {
      // Nobody waits for it any more.
    } else if (kind === EVENT.receive) this.#path.receive(batch, this.#nowMs);
    else return this.#take(batch, pipeline);
    if (!pipeline.alive) this.#pool.give(batch);
  }

  #arrive(request: number): void {
    for (const next of this.#queue.afterArrival()) this.#heap.push(next.atMs, EVENT.arrive, next.request);
    this.#record.arrivedMs[request] = this.#nowMs;
    this.#observer.onArrival?.(request, this.#nowMs);
    const session = new Session(request, must(this.#queue.requests[request], "request"), this.#queue.blockTokens);
    if (!this.#cluster.pipelines.some((pipeline) => pipeline.alive && pipeline.couldHold(session))) {
      // Between two plans nobody knows; it waits for the next one.
      if (this.#cluster.pipelines.some(({ alive }) => alive)) return this.#refuse(session);
    }
    this.#sessions[request] = session;
    this.#line.push(session, this.#nowMs);
    this.#admit();
  }

  #refuse(session: Session): void {
    this.#record.refused += 1;
    this.#end(session, "refused");
  }

  /** Gives slots to those who wait, first come, first served. */
  #admit(): void {
    for (;;) {
      const session = this.#line.first;
      if (session === undefined) return;
      const pipeline = this.#choosePipeline(session);
      if (pipeline === null) {
        if (this.#cluster.pipelines.some((each) => each.alive && each.accepting && each.couldHold(session))) return;
        // A new plan has no room for it, ever.
        if (!this.#cluster.pipelines.some((each) => each.alive && each.accepting)) return;
        this.#line.shift(this.#nowMs);
        this.#refuse(session);
        continue;
      }
      this.#line.shift(this.#nowMs);
      this.#place(session, pipeline, 0);
    }
  }

  #choosePipeline(session: Session): PipelineState | null {
    let best: PipelineState | null = null;
    for (const pipeline of this.#cluster.pipelines) {
      if (!pipeline.alive || !pipeline.accepting || !pipeline.canHold(session)) continue;
      if (best === null || pipeline.freeSlots > best.freeSlots) best = pipeline;
    }
    return best;
  }

  #place(session: Session, pipeline: PipelineState, keptTokens: number): void {
    const { request } = session;
    pipeline.admit(session, keptTokens);
    if (Number.isNaN(this.#record.admittedMs[request])) {
      this.#record.admittedMs[request] = this.#nowMs;
      this.#observer.onAdmission?.(request, this.#nowMs);
    }
    session.opensMs = this.#nowMs + pipeline.spec.openMs;
    if (pipeline.spec.openMs === 0) this.#open(session);
    else this.#heap.push(session.opensMs, EVENT.opened, request);
  }

  #open(session: Session): void {
    const { pipeline } = session;
    // It may have lost its place meanwhile, and be opening another.
    if (pipeline === null || this.#nowMs < session.opensMs) return;
    pipeline.wait(session, this.#readyCount++);
    this.#pump(pipeline);
  }

  /** Sends what may be sent now. */
  #pump(pipeline: PipelineState): void {
    if (pipeline.settled || pipeline.credits <= 0 || !pipeline.sending || pipeline.sessions.length === 0) return;
    const { policy } = pipeline.spec;
    // The policy would send nothing: no prompt is to be read, and decode rows wait for one of those under way.
    if (pipeline.readers === 0 && pipeline.decodesInFlight >= policy.decodeInFlight) return;
    const { batches, turn } = this.#schedule(pipeline, policy);
    pipeline.turn = turn;
    pipeline.settled = batches.length < pipeline.credits;
    for (const scheduled of batches) {
      const batch = this.#pool.take();
      fillBatch(batch, scheduled, pipeline);
      this.#hash.add(batch.callContexts[0] ?? 0, EVENT.depart, batch.rows);
      this.#path.depart(pipeline, batch, this.#nowMs);
    }
  }

  /** The tokens of a batch have come. */
  #take(batch: Batch, pipeline: PipelineState): void {
    pipeline.arrive(batch);
    let ended = false;
    for (let i = 0; i < batch.sessions.length; i++) {
      if (batch.samples[i] === true) ended = this.#takeToken(batch, must(batch.sessions[i], "session")) || ended;
    }
    this.#pool.give(batch);
    if (ended) this.#admit();
    this.#incidents.afterResult(pipeline, this.#nowMs);
    this.#pump(pipeline);
  }

  /** @returns whether it was the session's last */
  #takeToken(batch: Batch, session: Session): boolean {
    const { request } = session;
    const pipeline = must(session.pipeline, "pipeline of a session");
    const record = this.#record;
    this.#observer.onToken?.(request, session.generated, this.#nowMs);
    if (session.generated === 0) {
      record.firstComputedMs[request] = batch.computedMs;
      record.firstTokenMs[request] = this.#nowMs;
    } else record.gapsMs.push(this.#nowMs - session.lastTokenMs);
    session.generated += 1;
    session.lastTokenMs = this.#nowMs;
    if (session.generated < session.genTokens) {
      session.waitingRows = 1;
      pipeline.wait(session, this.#readyCount++);
      return false;
    }
    pipeline.release(session);
    record.finished += 1;
    this.#end(session, "finished");
    return true;
  }

  #end(session: Session, how: "finished" | "refused"): void {
    const { request } = session;
    this.#record.endedMs[request] = this.#nowMs;
    this.#record.generated[request] = session.generated;
    this.#sessions[request] = undefined;
    this.#observer.onEnd?.(request, this.#nowMs, how);
    const next = this.#queue.afterEnd(request, this.#nowMs);
    if (next !== null) this.#heap.push(next.atMs, EVENT.arrive, next.request);
  }
}
