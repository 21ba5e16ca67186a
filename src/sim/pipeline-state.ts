import { must } from "../common/index.ts";
import { chooseSlot, type ScheduleState, type ScheduleTurn } from "../schedule/index.ts";
import type { Batch } from "./batch.ts";
import type { Hop } from "./hop.ts";
import type { LinkState } from "./link-state.ts";
import type { NodeState } from "./node-state.ts";
import type { Session } from "./session.ts";
import type { SimPipeline, SimStage } from "./types.ts";

/** A stage while the simulation runs. */
export class StageState {
  readonly index: number;
  readonly spec: SimStage;
  readonly node: NodeState;
  /** The way into it. */
  readonly hop: Hop;
  busyMs = 0;
  batches = 0;
  rows = 0;

  constructor(index: number, spec: SimStage, node: NodeState, hop: Hop) {
    this.index = index;
    this.spec = spec;
    this.node = node;
    this.hop = hop;
  }

  /** Time of a micro-batch on an undisturbed node: one engine call after another. */
  predictMs(batch: Batch): number {
    const { cost, outputRowsOnly } = this.spec;
    const output = batch.outputRows > 0;
    if (outputRowsOnly && !output) return cost.predictMs(batch.phase, 0, 0, false);
    // Behind the blocks a prompt's chunk is its last row alone, which costs what a row of a decode step does.
    if (outputRowsOnly && batch.phase === "prefill") {
      return cost.predictMs("decode", batch.outputRows, batch.callContexts[0] as number, true);
    }
    let ms = 0;
    for (let call = 0; call < batch.callRows.length; call++) {
      ms += cost.predictMs(batch.phase, batch.callRows[call] as number, batch.callContexts[call] as number, output);
    }
    return ms;
  }
}

/** A pipeline while the simulation runs: the coordinator's side of it, and its stages. Also what the policy sees. */
export class PipelineState implements ScheduleState {
  /** By which events name it. */
  readonly index: number;
  readonly spec: SimPipeline;
  readonly stages: readonly StageState[];
  /** The way of the tokens. */
  readonly results: LinkState;
  /** With rows to send: all that the policy has to see, so that those that wait for nothing cost nothing. */
  readonly sessions: Session[] = [];
  readonly inFlight: Batch[] = [];
  /** Sessions by slot. */
  readonly bySlot: (Session | null)[];
  /** By slot: blocks of the prompt that was read last in it; their KV is still there. */
  readonly #leftBlocks: (readonly number[])[];
  readonly byId = new Map<string, Session>();
  readonly kvTokensLimit: number;
  readonly #occupied: { has(slot: number): boolean; readonly size: number };
  credits: number;
  turn: ScheduleTurn | null = null;
  decodesInFlight = 0;
  /** Of the sessions with rows to send, those that still read their prompt. */
  readers = 0;
  freeSlots: number;
  /** Tokens for which the sessions may need KV, and those that are in it. */
  reservedTokens = 0;
  kvTokens = 0;
  kvTokensPeak = 0;
  /** Of prompts, found in the KV that earlier sessions left. */
  tokensReused = 0;
  /** The policy had nothing to send though there was room, and nothing but room has changed since. */
  settled = false;
  /** New sessions may come. */
  accepting = true;
  /** Micro-batches may leave. */
  sending = true;
  /** It was given up: what comes of it counts no more. */
  alive = true;

  constructor(index: number, spec: SimPipeline, stages: readonly StageState[], results: LinkState) {
    this.index = index;
    this.spec = spec;
    this.stages = stages;
    this.results = results;
    this.credits = spec.window;
    this.freeSlots = spec.policy.slots;
    this.bySlot = new Array<Session | null>(spec.policy.slots).fill(null);
    const { bySlot } = this;
    this.#occupied = {
      has: (slot) => (bySlot[slot] ?? null) !== null,
      get size() {
        return bySlot.filter((session) => session !== null).length;
      },
    };
    this.#leftBlocks = Array.from({ length: spec.policy.slots }, () => []);
    this.kvTokensLimit = spec.kvTokens ?? spec.policy.slots * spec.contextTokens;
  }

  /** Whether a session that has the pipeline for itself could run. */
  couldHold(session: Session): boolean {
    return session.neededTokens <= Math.min(this.spec.contextTokens, this.kvTokensLimit);
  }

  canHold(session: Session): boolean {
    return this.freeSlots > 0 && this.reservedTokens + session.neededTokens <= this.kvTokensLimit;
  }

  /**
   * Gives the session a slot: of those free, the one that has most of its prompt in the KV, or else as the serving
   * runtime chooses, so that neighbours are computed together.
   *
   * @param keptTokens of its text that came with it
   */
  admit(session: Session, keptTokens: number): void {
    const free: number[] = [];
    let slot: number | null = null;
    let foundTokens = 0;
    for (let i = 0; i < this.bySlot.length; i++) {
      if (this.bySlot[i] !== null) continue;
      free.push(i);
      const common = session.countCommon(must(this.#leftBlocks[i], "slot"));
      if (common <= foundTokens) continue;
      slot = i;
      foundTokens = common;
    }
    slot ??= must(chooseSlot(free, this.#occupied, this.spec.policy.align), "free slot");
    if (keptTokens === 0 && foundTokens > 0) this.tokensReused += foundTokens;
    this.bySlot[slot] = session;
    this.#leftBlocks[slot] = session.blocks;
    this.byId.set(session.id, session);
    this.freeSlots -= 1;
    this.reservedTokens += session.neededTokens;
    session.slot = slot;
    session.pipeline = this;
    session.restart(Math.max(keptTokens, foundTokens));
    this.#addKv(session.position);
  }

  release(session: Session): void {
    this.bySlot[session.slot] = null;
    this.byId.delete(session.id);
    this.freeSlots += 1;
    this.reservedTokens -= session.neededTokens;
    this.kvTokens -= session.position;
    if (session.waitingPlace >= 0) this.#stopWaiting(session);
    session.slot = -1;
    session.pipeline = null;
  }

  /** The session has rows to send. */
  wait(session: Session, since: number): void {
    this.settled = false;
    session.readySince = since;
    session.waitingPlace = this.sessions.length;
    this.sessions.push(session);
    if (session.position < session.promptRows) this.readers += 1;
  }

  /** Rows of the session leave. */
  take(session: Session, rows: number): void {
    const reading = session.position < session.promptRows;
    session.position += rows;
    session.waitingRows -= rows;
    this.#addKv(rows);
    if (session.waitingRows === 0) this.#stopWaiting(session);
    if (reading && (session.waitingRows === 0 || session.position >= session.promptRows)) this.readers -= 1;
  }

  depart(batch: Batch): void {
    batch.place = this.inFlight.length;
    this.inFlight.push(batch);
    this.credits -= 1;
    if (batch.phase === "decode") this.decodesInFlight += 1;
  }

  arrive(batch: Batch): void {
    this.settled = false;
    const last = this.inFlight.pop();
    if (last !== undefined && last !== batch) {
      this.inFlight[batch.place] = last;
      last.place = batch.place;
    }
    if (batch.phase === "decode") this.decodesInFlight -= 1;
  }

  #stopWaiting(session: Session): void {
    const last = this.sessions.pop();
    if (last !== undefined && last !== session) {
      this.sessions[session.waitingPlace] = last;
      last.waitingPlace = session.waitingPlace;
    }
    session.waitingPlace = -1;
  }

  #addKv(tokens: number): void {
    this.kvTokens += tokens;
    if (this.kvTokens > this.kvTokensPeak) this.kvTokensPeak = this.kvTokens;
  }
}
