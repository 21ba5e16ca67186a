import { must, NoodleError } from "../../common/index.ts";
import type { StageInfo } from "../../engine/index.ts";
import {
  checkFrameShape,
  decodeFrame,
  type Frame,
  type FrameExpectation,
  type FrameTrace,
  type Observation,
  type StepResult,
} from "../../protocol/index.ts";
import type { HostAssignment } from "./host-messages.ts";
import { makeObservation } from "./observation.ts";
import { completeTrace, makeStepError, makeStepResult } from "./replies.ts";
import type { ReplySink } from "./reply-sink.ts";
import { SessionKeeper } from "./session-keeper.ts";
import type { AsyncEngine } from "./stage-thread.ts";
import { StepQueue } from "./step-queue.ts";
import { type StepOutcome, StepRunner } from "./step-runner.ts";
import type { StepCounter } from "./step-totals.ts";

/** The hop to the next stage. */
export interface ForwardHop {
  /** Half of what the last round trip took beyond the time inside the peer; 0 = not yet known. */
  readonly hopNs: number;
  /** What encoding the last frame took. */
  readonly encodeNs: number;
  /**
   * Resolves with the frame's bytes when it is written; waits for the peer's credit first.
   *
   * @throws PEER_UNREACHABLE, PEER_DEAD, PEER_STALLED when it cannot be written; afterwards the hop's `onStepError`
   * tells of failures
   */
  send(frame: Frame): Promise<number>;
  close(): void;
}

export interface ActiveStageOptions {
  readonly assignment: HostAssignment;
  readonly info: StageInfo;
  readonly engine: AsyncEngine;
  readonly nodeId: string;
  readonly nowMs: () => number;
  readonly onObservation: (observation: Observation) => void;
  readonly counter: StepCounter;
  /** Absent at the last stage. */
  readonly openHop?: (onStepError: (stepId: number, error: NoodleError) => void) => ForwardHop;
}

/** Engine calls before the engine at once: it is never without work while there is some, and what cannot wait can. */
const CALLS_AHEAD = 2;

/** Step ids whose incoming stream is remembered, so that late errors find their way up. */
const REMEMBERED_STEPS = 1024;

/** A loaded stage in one epoch: computes the steps of all streams one by one and passes the results on. */
export class ActiveStage {
  readonly assignment: HostAssignment;
  readonly info: StageInfo;
  readonly keeper: SessionKeeper;
  /** Every open stream of this epoch, steps and results. */
  readonly streams = new Set<ReplySink>();
  /** Streams that want the sampled tokens; at the last stage only. */
  readonly resultSinks = new Set<ReplySink>();
  readonly counter: StepCounter;
  readonly #nodeId: string;
  readonly #runner: StepRunner;
  readonly #hop: ForwardHop | undefined;
  readonly #queue = new StepQueue(CALLS_AHEAD);
  readonly #origins = new Map<number, ReplySink>();
  readonly #expected: FrameExpectation;
  readonly #onObservation: (observation: Observation) => void;

  constructor(options: ActiveStageOptions) {
    const { assignment, info, engine, nowMs, nodeId } = options;
    this.#nodeId = nodeId;
    this.assignment = assignment;
    this.counter = options.counter;
    this.info = info;
    this.keeper = new SessionKeeper(engine, this.#queue);
    this.#onObservation = options.onObservation;
    const { epoch, hooks } = assignment;
    this.#runner = new StepRunner({ engine, sessions: this.keeper.sessions, info, epoch, hooks, nowMs });
    this.#hop = options.openHop?.((stepId, error) => this.#reportUpstream(stepId, error));
    const behindBlocks = info.units.first === info.unitCount - 1;
    this.#expected = {
      epoch: assignment.epoch,
      width: info.nEmbd,
      hidden: info.hasEmbedding ? "none" : behindBlocks ? "output-rows" : "every-row",
      parallel: assignment.parallel,
      maxRows: info.maxRows,
    };
  }

  get epoch(): number {
    return this.assignment.epoch;
  }

  /** Reads a frame of any epoch, so that a refusal can name its step. @throws FRAME_CORRUPT, FRAME_INVALID */
  decode(bytes: Uint8Array): Frame {
    const { info, assignment } = this;
    const width = info.hasEmbedding ? "any" : info.nEmbd;
    return decodeFrame(bytes, { epoch: "any", width, maxRows: info.maxRows, maxRuns: assignment.parallel });
  }

  /**
   * Computes a step after those before it.
   *
   * @param from the stream that brought it; errors from further down go back there
   * @param arrivalNs monotonic time of the frame's arrival
   */
  async compute(frame: Frame, from: ReplySink, arrivalNs: bigint): Promise<{ outcome: StepOutcome; waitedNs: number }> {
    checkFrameShape(frame, this.#expected);
    this.#remember(frame.stepId, from);
    // Copies: the frame's views lie in the transport's buffer, the engine thread takes these with it.
    const step = { ...frame, tokens: frame.tokens.slice(), hidden: frame.hidden?.slice() ?? null };
    const sessionIds = frame.runs.map((run) => run.sessionId);
    const outcome = await this.#queue.run(sessionIds, () => this.#runner.run(step));
    this.counter.addEngineTime(outcome.computeNs);
    return { outcome, waitedNs: outcome.startNs - Number(arrivalNs) };
  }

  /** Passes a computed step on: to the next stage, or as sampled tokens to whoever listens. */
  async deliver(frame: Frame, outcome: StepOutcome, timing: Omit<FrameTrace, "stage" | "hopNs">): Promise<void> {
    const { stage } = this.assignment;
    const traces = completeTrace(frame.traces, { stage, ...timing });
    if (this.#hop === undefined) return await this.#deliverResult(makeStepResult(frame, outcome, traces));
    const hidden = must(outcome.hidden, "hidden state");
    const hop = this.#hop;
    const next = { stage: stage + 1, queueNs: 0, computeNs: 0, serializeNs: 0, hopNs: hop.hopNs, bytesIn: 0 };
    this.counter.addSent(await hop.send({ ...frame, traces: [...traces, next], width: this.info.nEmbd, hidden }));
  }

  /** Tells what was seen inside a step that has been delivered, when there is time for it. */
  observe(frame: Frame, outcome: StepOutcome, times: { readonly arrivalNs: bigint; readonly sentNs: bigint }): void {
    const { observed } = outcome;
    if (observed === null) return;
    setImmediate(() => this.#onObservation(makeObservation(frame, this.assignment.stage, observed, times)));
  }

  /** What encoding the last frame took: it stands for the frame that cannot carry its own. */
  get encodeNs(): number {
    return this.#hop?.encodeNs ?? 0;
  }

  /** Ends the epoch: its streams, its sessions and their KV. */
  async retire(error: NoodleError): Promise<void> {
    for (const stream of this.streams) stream.fail(error);
    this.streams.clear();
    this.resultSinks.clear();
    this.#hop?.close();
    await this.keeper.endAll(error);
  }

  async #deliverResult(result: StepResult): Promise<void> {
    if (this.resultSinks.size === 0) {
      throw new NoodleError("CLUSTER_NOT_READY", "no stream takes this stage's results");
    }
    await Promise.all(
      [...this.resultSinks].map((sink) => sink.write({ case: "result", value: result }).catch(() => this.forget(sink))),
    );
  }

  /** A stream has ended. */
  forget(sink: ReplySink): void {
    this.streams.delete(sink);
    this.resultSinks.delete(sink);
  }

  /** An error of a later stage goes to the stream that brought the step, or to any other from upstream. */
  #reportUpstream(stepId: number, error: NoodleError): void {
    const origin = this.#origins.get(stepId);
    const sink = origin !== undefined && this.streams.has(origin) ? origin : [...this.streams][0];
    sink?.write(makeStepError(stepId, error, this.#nodeId)).catch(() => this.forget(sink));
  }

  #remember(stepId: number, from: ReplySink): void {
    this.#origins.delete(stepId);
    this.#origins.set(stepId, from);
    if (this.#origins.size <= REMEMBERED_STEPS) return;
    const [oldest] = this.#origins.keys();
    if (oldest !== undefined) this.#origins.delete(oldest);
  }
}
