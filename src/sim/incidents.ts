import { must } from "../common/index.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { DataPath } from "./data-path.ts";
import type { EventHeap } from "./event-heap.ts";
import { EVENT } from "./events.ts";
import type { SimObserver } from "./observer.ts";
import type { PipelineState } from "./pipeline-state.ts";
import type { RequestRecord } from "./record.ts";
import type { Session } from "./session.ts";
import type { Incident, SimPipeline } from "./types.ts";
import type { WaitingLine } from "./waiting-line.ts";

/** What incidents act on. */
export interface IncidentReach {
  readonly heap: EventHeap;
  readonly cluster: ClusterState;
  readonly path: DataPath;
  readonly line: WaitingLine;
  readonly record: RequestRecord;
  readonly observer: SimObserver;
  /** Gives slots to those who wait. */
  admit(): void;
  /** Gives a session a slot of a pipeline. */
  place(session: Session, pipeline: PipelineState, keptTokens: number): void;
}

/** Lets nodes fail and plans change. */
export class Incidents {
  readonly #incidents: readonly Incident[];
  readonly #reach: IncidentReach;
  /** Of each change of plan: pipelines that still have something to finish, and those that have. */
  readonly #ending = new Map<number, readonly PipelineState[]>();
  readonly #ended = new Map<number, readonly PipelineState[]>();
  /** Of a failure: what replaces the pipelines that it ended. */
  readonly #next = new Map<number, readonly SimPipeline[]>();

  constructor(incidents: readonly Incident[], reach: IncidentReach) {
    this.#incidents = incidents;
    this.#reach = reach;
  }

  announce(): void {
    for (const [index, { atMs }] of this.#incidents.entries()) this.#reach.heap.push(atMs, EVENT.incident, index);
  }

  begin(index: number, nowMs: number): void {
    const incident = this.#at(index);
    this.#reach.observer.onIncident?.(incident, "begins", nowMs);
    if (incident.type === "fail") {
      const node = must(this.#reach.cluster.nodes.get(incident.node), "node");
      node.down = true;
      // What it computed is lost; the coordinator does not know yet.
      node.current = null;
      this.#reach.heap.push(nowMs + incident.detectMs, EVENT.notice, index);
      return;
    }
    const old = this.#alive();
    if (incident.mode === "beside") {
      this.#reach.heap.push(nowMs + incident.pauseMs, EVENT.resume, index);
      return;
    }
    for (const pipeline of old) {
      pipeline.accepting = false;
      if (incident.mode === "move") pipeline.sending = false;
    }
    this.#ending.set(index, old);
    this.#check(index, nowMs);
  }

  /** The coordinator finds that a node has failed. */
  notice(index: number, nowMs: number): void {
    const incident = this.#at(index);
    if (incident.type !== "fail") return;
    this.#reach.observer.onIncident?.(incident, "noticed", nowMs);
    const hit = this.#alive().filter(({ spec }) => spec.stages.some(({ node }) => node === incident.node));
    // Those that were to end anyway have a successor of their own.
    this.#next.set(index, incident.pipelines ?? hit.filter(({ accepting }) => accepting).map(({ spec }) => spec));
    this.#requeue(
      hit.flatMap((pipeline) => this.#end(pipeline)),
      nowMs,
    );
    this.#reach.heap.push(nowMs + incident.pauseMs, EVENT.resume, index);
    this.#checkAll(nowMs);
    this.#reach.admit();
  }

  /** The new plan is ready. */
  resume(index: number, nowMs: number): void {
    const incident = this.#at(index);
    const { cluster, observer } = this.#reach;
    observer.onIncident?.(incident, "resumed", nowMs);
    if (incident.type === "fail") {
      // It takes part again where the new plan says so.
      must(cluster.nodes.get(incident.node), "node").down = false;
      for (const spec of must(this.#next.get(index), "plan")) cluster.addPipeline(spec);
    } else if (incident.mode === "beside") {
      for (const pipeline of this.#alive()) pipeline.accepting = false;
      for (const spec of incident.pipelines) cluster.addPipeline(spec);
    } else {
      const fresh = incident.pipelines.map((spec) => cluster.addPipeline(spec));
      this.#move(must(this.#ended.get(index), "plan"), fresh, incident.keepKv, nowMs);
    }
    this.#reach.admit();
  }

  /** A micro-batch has come back: what waited for that may go on. */
  afterResult(pipeline: PipelineState, nowMs: number): void {
    if (pipeline.accepting) return;
    this.#checkAll(nowMs);
    // Of a plan that is no longer in force, nothing is left.
    if (pipeline.byId.size === 0 && this.#ending.size === 0) pipeline.alive = false;
  }

  #checkAll(nowMs: number): void {
    for (const index of this.#ending.keys()) this.#check(index, nowMs);
  }

  #check(index: number, nowMs: number): void {
    const incident = this.#at(index);
    const old = must(this.#ending.get(index), "plan");
    if (incident.type !== "plan") return;
    const isDone = (pipeline: PipelineState): boolean =>
      !pipeline.alive || (incident.mode === "move" ? pipeline.inFlight.length === 0 : pipeline.byId.size === 0);
    if (!old.every(isDone)) return;
    this.#ending.delete(index);
    this.#ended.set(index, old);
    this.#reach.heap.push(nowMs + incident.pauseMs, EVENT.resume, index);
  }

  /** Sessions of the old plan go to the new one as far as it has room, in the order in which they came. */
  #move(old: readonly PipelineState[], fresh: readonly PipelineState[], keepKv: boolean, nowMs: number): void {
    const moved = old
      .flatMap((pipeline) => [...pipeline.byId.values()].map((session) => ({ session, had: session.position })))
      .sort((a, b) => a.session.request - b.session.request);
    for (const pipeline of old) if (pipeline.alive) this.#end(pipeline);
    const homeless: Session[] = [];
    for (const { session, had } of moved) {
      const pipeline = fresh.find((each) => each.canHold(session));
      if (keepKv && pipeline !== undefined) {
        this.#reach.place(session, pipeline, had);
        continue;
      }
      homeless.push(session);
    }
    this.#requeue(homeless, nowMs);
  }

  /** @returns its sessions */
  #end(pipeline: PipelineState): readonly Session[] {
    const sessions = [...pipeline.byId.values()];
    pipeline.alive = false;
    pipeline.accepting = false;
    this.#reach.path.abandon(pipeline);
    for (const session of sessions) {
      if (session.position > 0) this.#reach.record.readAgain += 1;
      pipeline.release(session);
    }
    return sessions;
  }

  #requeue(sessions: readonly Session[], nowMs: number): void {
    if (sessions.length === 0) return;
    this.#reach.line.putBack(
      sessions.toSorted((a, b) => a.request - b.request),
      nowMs,
    );
  }

  #alive(): readonly PipelineState[] {
    return this.#reach.cluster.pipelines.filter(({ alive }) => alive);
  }

  #at(index: number): Incident {
    return must(this.#incidents[index], "incident");
  }
}
