import { NoodleError } from "../../common/index.ts";
import { GREEDY } from "../../engine/index.ts";
import { readSessionId, type SessionId, type StepResult, writeSessionId } from "../../protocol/index.ts";
import type { Fault } from "../state/index.ts";
import type { Clock } from "./clock.ts";
import { toError, writeSampling } from "./convert.ts";
import type { Pipeline } from "./pipeline.ts";
import type { RequestRecorder } from "./request-recorder.ts";
import { nextSteps, type Step } from "./schedule.ts";
import type { Session } from "./session.ts";
import type { LayerKvHash } from "./stage-client.ts";
import type { StepFacts } from "./step-recorder.ts";

/** Deadline of the unary calls that open and close a session on one stage. */
const CALL_TIMEOUT_MS = 5000;
const CLOSE_TIMEOUT_MS = 1000;
/** Reading a long KV cache takes a while. */
const READ_KV_TIMEOUT_MS = 60_000;

/** A stage frees a session by itself after this long without a step. */
const SESSION_LEASE_MS = 60_000;

/**
 * Moves the steps of all sessions through the pipeline: sends what the scheduler chooses whenever there is a credit, and
 * hands each sampled token to its session.
 */
export class SessionRunner {
  readonly #clock: Clock;
  readonly #recorder: RequestRecorder | null;
  readonly #sessions = new Map<SessionId, Session>();
  #pipeline: Pipeline | null = null;
  #lastServed: string | null = null;

  /** @param recorder null where nobody observes */
  constructor(clock: Clock, recorder: RequestRecorder | null) {
    this.#clock = clock;
    this.#recorder = recorder;
  }

  get sessions(): Iterable<Session> {
    return this.#sessions.values();
  }

  get pipeline(): Pipeline | null {
    return this.#pipeline;
  }

  setPipeline(pipeline: Pipeline | null): void {
    this.#pipeline = pipeline;
    this.pump();
  }

  /**
   * Opens the session on every stage, then lets it run.
   *
   * @throws a stage's refusal, or what ended the session meanwhile
   */
  async open(session: Session, pipeline: Pipeline): Promise<void> {
    this.#sessions.set(session.id, session);
    const request = {
      epoch: BigInt(session.epoch),
      sessionId: writeSessionId(session.id),
      fence: session.fence,
      slot: session.slot,
      sampling: writeSampling(session.request.sampling ?? GREEDY),
      leaseMs: SESSION_LEASE_MS,
      wantLogits: session.request.wantLogits === true,
    };
    const options = { timeoutMs: CALL_TIMEOUT_MS, signal: session.signal };
    // All answers, not the first refusal only: what is closed afterwards must not be opened later.
    const answers = await Promise.allSettled(pipeline.stages.map((stage) => stage.createSession(request, options)));
    if (session.failure !== undefined) throw session.failure;
    for (const answer of answers) if (answer.status === "rejected") throw answer.reason;
    session.run();
    this.pump();
  }

  /** Frees the session on every stage. Stages that are gone have freed it already: their errors say nothing new. */
  async close(session: Session, pipeline: Pipeline): Promise<void> {
    this.#sessions.delete(session.id);
    session.sampled.end();
    const message = { epoch: BigInt(session.epoch), sessionId: writeSessionId(session.id), fence: session.fence };
    await Promise.allSettled(
      pipeline.stages.map((stage) => stage.closeSession(message, { timeoutMs: CLOSE_TIMEOUT_MS })),
    );
    this.pump();
  }

  /** Hashes of the session's KV, layer by layer in the order of the model. */
  async readKvHashes(session: Session, pipeline: Pipeline): Promise<readonly LayerKvHash[]> {
    const message = { epoch: BigInt(session.epoch), sessionId: writeSessionId(session.id) };
    const options = { timeoutMs: READ_KV_TIMEOUT_MS, signal: session.signal };
    const stages = await Promise.all(pipeline.stages.map((stage) => stage.readKvHashes(message, options)));
    return stages.flat().sort((a, b) => a.block - b.block);
  }

  fail(sessionId: SessionId, fault: Fault): void {
    this.#sessions.get(sessionId)?.fail(toError(fault));
  }

  /** Sends what may be sent now. */
  pump(): void {
    const pipeline = this.#pipeline;
    if (pipeline === null || pipeline.credits <= 0 || this.#sessions.size === 0) return;
    const sessions = [...this.#sessions.values()].filter((session) => session.epoch === pipeline.epoch);
    const steps = nextSteps({
      sessions: sessions.map((session) => session.waiting()),
      credits: pipeline.credits,
      lastServed: this.#lastServed,
    });
    for (const step of steps) {
      const session = this.#sessions.get(step.sessionId);
      if (session === undefined) continue;
      this.#lastServed = step.sessionId;
      const { position, rows, output } = step;
      const { id, fence, slot } = session;
      const runs = [{ sessionId: id, fence, branch: 0, position, rows, slot, output }];
      this.#recorder?.sendStep(session);
      pipeline.send({ runs, tokens: session.send(step) }, () => describeStep(session, step));
    }
  }

  /** Takes what the last stage sampled. Tokens of sessions that are over are dropped. */
  receive(result: StepResult): void {
    for (const token of result.tokens) {
      const session = this.#sessions.get(readSessionId(token.sessionId));
      if (session === undefined || token.fence !== session.fence || token.branch !== 0) continue;
      this.#addTimings(session, result);
      try {
        const receivedMs = this.#clock.nowMs();
        const { generatedTokens } = session;
        session.receive(token.position, { tokenId: token.tokenId, logits: readLogits(token.logits), receivedMs });
        if (session.generatedTokens > generatedTokens) this.#recorder?.receiveToken(session);
      } catch (error) {
        session.fail(NoodleError.from(error));
      }
    }
    this.pump();
  }

  #addTimings(session: Session, result: StepResult): void {
    const rows = session.stepRows.at(-1) ?? 1;
    for (const { stage, queueNs, computeNs, hopNs } of result.timings) {
      const hopMs = stage === 0 ? (this.#pipeline?.firstHopMs ?? null) : hopNs === 0n ? null : Number(hopNs) / 1e6;
      session.addTiming(stage, rows, { computeMs: Number(computeNs) / 1e6, queueMs: Number(queueNs) / 1e6, hopMs });
    }
  }
}

function describeStep(session: Session, { position, rows }: Step): StepFacts {
  return {
    requestIds: session.requestIds,
    phase: position < session.promptTokens ? "prefill" : "decode",
    rows,
    contextTokens: position + rows,
    asked: session.request.observe ?? null,
  };
}

/** A copy: the bytes belong to the message. */
function readLogits(bytes: Uint8Array): Float32Array | null {
  if (bytes.length === 0) return null;
  return new Float32Array(Uint8Array.from(bytes).buffer);
}
