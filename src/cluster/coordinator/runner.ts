import { must, type NoodleError } from "../../common/index.ts";
import type { SessionId, StepResult } from "../../protocol/index.ts";
import {
  type CostMeter,
  nextFairSchedule,
  placeRuns,
  type ScheduledBatch,
  type SchedulePolicy,
  type ScheduleTurn,
} from "../../schedule/index.ts";
import type { Fault } from "../state/index.ts";
import { BatchCounter } from "./batch-counter.ts";
import type { Clock } from "./clock.ts";
import { toError } from "./convert.ts";
import { giveLogprobs, giveTokens } from "./give-result.ts";
import type { FailedStep, Pipeline } from "./pipeline.ts";
import type { RequestRecorder } from "./request-recorder.ts";
import { describeStep, isolateRun, readTokens, type SentBatch, writeRuns } from "./sent-batch.ts";
import type { Session } from "./session.ts";
import { SessionTable } from "./session-table.ts";
import type { StageTime } from "./stage-samples.ts";

export interface SessionRunnerOptions {
  readonly clock: Clock;
  /** Null where nobody observes. */
  readonly recorder: RequestRecorder | null;
  /** Learns what steps take. */
  readonly meter: CostMeter;
  /** A step's times are in the meter. */
  readonly onStep: () => void;
  /** A session that stood still has its next token. */
  readonly onResumed: (session: Session) => void;
}

/**
 * Moves the rows of all sessions through the pipeline: sends the micro-batches that the policy chooses whenever there is
 * a credit, and hands what comes back to its sessions. What a step costs here depends on the sessions that have rows to
 * send, not on those that wait.
 */
export class SessionRunner {
  readonly counter = new BatchCounter();
  readonly #options: SessionRunnerOptions;
  readonly #sessions = new SessionTable();
  /** By step id. */
  readonly #inFlight = new Map<number, SentBatch>();
  /** Steps of sessions that were in one micro-batch with one that failed. */
  #retries: SentBatch[] = [];
  #pipeline: Pipeline | null = null;
  #policy: SchedulePolicy | null = null;
  #turn: ScheduleTurn | null = null;

  constructor(options: SessionRunnerOptions) {
    this.#options = options;
  }

  get sessions(): Iterable<Session> {
    return this.#sessions.all;
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  get pipeline(): Pipeline | null {
    return this.#pipeline;
  }

  /** Null before the first pipeline. */
  get policy(): SchedulePolicy | null {
    return this.#policy;
  }

  setPipeline(pipeline: Pipeline | null): void {
    this.#pipeline = pipeline;
    this.#inFlight.clear();
    this.#retries = [];
    for (const session of this.#sessions.all) this.#sessions.clearSteps(session);
    this.pump();
  }

  setPolicy(policy: SchedulePolicy): void {
    this.#policy = policy;
  }

  /** Knows the session from now on; it is served when it runs. */
  add(session: Session): void {
    this.#sessions.add(session);
  }

  remove(session: Session): void {
    this.#sessions.remove(session);
  }

  /** Its rows may leave now, or it has room again. */
  wake(session: Session): void {
    this.#refresh(session);
    this.pump();
  }

  /** Resolves when no step of the session is under way, or when the time is over. */
  settle(session: Session, timeoutMs: number): Promise<void> {
    return this.#sessions.settle(session, timeoutMs);
  }

  has(session: Session): boolean {
    return this.#sessions.find(session.id) === session;
  }

  /** Ends a session; without effect when it is not known. */
  fail(sessionId: SessionId, error: NoodleError): void {
    this.#sessions.find(sessionId)?.fail(error);
    this.#sessions.hold(sessionId);
  }

  /**
   * A step was not computed. Sessions that only shared it with the one at fault are sent again, each in the company that
   * it had.
   */
  failStep({ epoch, stepId, guilty }: FailedStep, fault: Fault): void {
    const sent = epoch === this.#pipeline?.epoch ? this.#inFlight.get(stepId) : undefined;
    // Of an earlier pipeline: what it did not compute is computed on this one.
    if (sent === undefined) return;
    this.#inFlight.delete(stepId);
    const isAlone = sent.members.length === 1;
    for (const member of sent.members) {
      const { session } = member;
      this.#sessions.endStep(session);
      if (isAlone || guilty.includes(session.id)) this.fail(session.id, toError(fault));
      else this.#retries.push(isolateRun(sent, member));
    }
    this.pump();
  }

  /** Sends what may be sent now. */
  pump(): void {
    const pipeline = this.#pipeline;
    const policy = this.#policy;
    if (pipeline === null || policy === null) return;
    while (this.#pipeline === pipeline && pipeline.credits > 0) {
      const retry = this.#retries.shift();
      if (retry !== undefined) {
        if (!must(retry.members[0], "session").session.isOver) this.#send(pipeline, retry);
        continue;
      }
      if (!this.#sessions.hasReady) return;
      const sessions = this.#sessions.ready.map((session) => session.waiting());
      const inFlight = [...this.#inFlight.values()];
      const { batches, turn } = nextFairSchedule(
        { sessions, inFlight, credits: pipeline.credits, turn: this.#turn },
        policy,
      );
      this.#turn = turn;
      if (batches.length === 0) return;
      for (const batch of batches) {
        // Sending may find the pipeline broken.
        if (this.#pipeline !== pipeline) return;
        this.#sendScheduled(pipeline, batch);
      }
    }
  }

  /** Takes what the last stage answers to a step. Tokens of sessions that are over are dropped. */
  receive(result: StepResult): void {
    const stepId = Number(result.stepId);
    const sent = this.#inFlight.get(stepId);
    if (sent === undefined) return;
    this.#inFlight.delete(stepId);
    const nowMs = this.#options.clock.nowMs();
    for (const { session, run } of sent.members) {
      session.answer(run.position + run.rows);
      session.stall?.answer(session.answeredRows, nowMs);
    }
    const find = (id: SessionId): Session | undefined => this.#sessions.find(id);
    giveLogprobs(result, find);
    giveTokens(result, find, nowMs, (session) => this.#noteToken(session));
    for (const { session } of sent.members) {
      this.#sessions.endStep(session);
      this.#refresh(session);
    }
    // The next step leaves before anything is learnt of this one.
    this.pump();
    const times = this.#readTimes(result);
    for (const { session, run } of sent.members) session.times.add(run.rows, times);
    this.#measure(sent, times);
  }

  #sendScheduled(pipeline: Pipeline, { phase, runs, pads }: ScheduledBatch): void {
    const members = runs.map((run) => ({ session: must(this.#sessions.find(run.sessionId), "session of a run"), run }));
    const rows = runs.reduce((sum, run) => sum + run.rows, 0);
    const slots = members.map(({ session }) => session.slot);
    const places = placeRuns(
      members.map(({ session, run }) => ({ slot: session.slot, rows: run.rows })),
      pads,
    );
    const tokens = new Int32Array(rows);
    let row = 0;
    for (const [index, { session, run }] of members.entries()) {
      tokens.set(session.send(run, must(places[index], "place of a run")), row);
      row += run.rows;
    }
    this.counter.add(phase, rows, pads.length);
    this.#send(pipeline, { phase, rows, slots, members, pads }, tokens);
  }

  #send(pipeline: Pipeline, batch: SentBatch, tokens?: Int32Array): void {
    const { members, pads } = batch;
    for (const { session } of members) {
      session.stepsInFlight += 1;
      this.#options.recorder?.sendStep(session);
      this.#refresh(session);
    }
    const frame = { runs: writeRuns(batch), tokens: tokens ?? readTokens(batch), pads };
    const stepId = pipeline.send(frame, () => describeStep(batch));
    if (this.#pipeline === pipeline) this.#inFlight.set(stepId, batch);
  }

  #refresh(session: Session): void {
    this.#sessions.refresh(session, this.#pipeline?.epoch ?? null);
  }

  #noteToken(session: Session): void {
    this.#options.recorder?.receiveToken(session);
    if (session.stall !== null) this.#options.onResumed(session);
  }

  #measure({ phase, rows, pads }: SentBatch, times: readonly StageTime[]): void {
    const { meter, onStep } = this.#options;
    let computeMs = 0;
    for (const time of times) {
      computeMs = Math.max(computeMs, time.computeMs);
      if (time.hopMs !== null) meter.addHop(time.hopMs);
    }
    meter.add(phase, rows + pads.length, computeMs);
    onStep();
  }

  #readTimes(result: StepResult): readonly StageTime[] {
    const firstHopMs = this.#pipeline?.firstHopMs ?? null;
    return result.timings.map(({ stage, queueNs, computeNs, hopNs }) => ({
      stage,
      computeMs: Number(computeNs) / 1e6,
      queueMs: Number(queueNs) / 1e6,
      hopMs: stage === 0 ? firstHopMs : hopNs === 0n ? null : Number(hopNs) / 1e6,
    }));
  }
}
