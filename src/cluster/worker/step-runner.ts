import { must, NoodleError } from "../../common/index.ts";
import type { RowLogprobs, RowRun, StageInfo, StageInput, StageOutput, SampledToken } from "../../engine/index.ts";
import type { StepObservation } from "../../observe/index.ts";
import { countOutputRows, type Frame, type FrameRun, MESSAGE_CAP_BYTES } from "../../protocol/index.ts";
import { concatenate } from "./concatenate.ts";
import type { Session, SessionTable } from "./sessions.ts";
import type { AsyncEngine } from "./stage-thread.ts";
import { decideStep, type StepDecision } from "./step-rules.ts";

/** A frame whose shape was checked against the plan. The buffers of `tokens` and `hidden` are given away. */
export type IncomingStep = Pick<Frame, "epoch" | "observe" | "runs" | "pads" | "tokens" | "hidden">;

/** An engine call from outside, on this process's monotonic clock, and from inside where that was asked for. */
export interface ObservedCall {
  readonly startNs: number;
  readonly endNs: number;
  readonly observation: StepObservation;
}

export interface StepOutcome {
  /** f32[hiddenRows, nEmbd] in the order of the runs; null at the last stage. */
  readonly hidden: Float32Array | null;
  /** `run` is an index into the step's runs. */
  readonly sampled: readonly SampledToken[];
  /** `run` is an index into the step's runs; in the order of the runs. */
  readonly logprobs: readonly RowLogprobs[];
  /** 0 when every run was answered from its kept reply. */
  readonly computeNs: number;
  /** When the engine began with it, or the answer was found, on this process's monotonic clock. */
  readonly startNs: number;
  /** Null unless the step asked for it and the engine computed something. */
  readonly observed: ObservedCall | null;
}

type Accepted = Exclude<StepDecision, { type: "refuse" }>;

interface Planned {
  readonly run: FrameRun;
  readonly session: Session;
  readonly decision: Accepted;
  readonly firstRow: number;
  readonly firstHiddenRow: number;
  readonly hiddenRows: number;
}

export interface StepRunnerOptions {
  readonly engine: AsyncEngine;
  readonly sessions: SessionTable;
  readonly info: StageInfo;
  readonly epoch: number;
  /** False when the engine was loaded without hooks: steps that ask to be observed are computed and not observed. */
  readonly hooks: boolean;
  readonly nowMs: () => number;
}

/**
 * Runs steps on the engine under the step rules: at most one engine call for a step, and none for runs whose reply
 * is kept. A step is refused as a whole, before anything changed.
 */
export class StepRunner {
  readonly #engine: AsyncEngine;
  readonly #sessions: SessionTable;
  readonly #info: StageInfo;
  readonly #epoch: number;
  readonly #hooks: boolean;
  readonly #nowMs: () => number;

  constructor(options: StepRunnerOptions) {
    this.#engine = options.engine;
    this.#sessions = options.sessions;
    this.#info = options.info;
    this.#epoch = options.epoch;
    this.#hooks = options.hooks;
    this.#nowMs = options.nowMs;
  }

  /**
   * @throws STALE_EPOCH, STEP_OUT_OF_ORDER, CONTEXT_EXCEEDED, SESSION_NOT_FOUND, FRAME_INVALID with nothing changed;
   * the engine's errors with the sessions where they were before the step. `details.sessionIds` names the sessions at
   * fault where others are not: those may be sent again
   */
  async run(step: IncomingStep): Promise<StepOutcome> {
    const planned = this.#plan(step);
    const computing = planned.filter(({ decision }) => decision.type === "compute");
    if (computing.length === 0) {
      return { ...this.#merge(planned), computeNs: 0, startNs: Number(process.hrtime.bigint()), observed: null };
    }
    const truncations = computing.flatMap(({ session, decision }) =>
      decision.type === "compute" && decision.truncateTo !== undefined
        ? [{ slot: session.slot, position: decision.truncateTo }]
        : [],
    );
    const wantLogits = computing.some(({ session, run }) => session.wantLogits && run.output !== "none");
    try {
      const input = this.#input(step, planned, computing);
      const observe = this.#hooks && step.observe !== "off" ? step.observe : null;
      const output = await this.#engine.forward({ input, truncations, wantLogits, observe });
      this.#keep(computing, output);
      const { observation, computeNs, startNs, endNs } = output;
      const observed = observation === null ? null : { observation, startNs, endNs };
      return { ...this.#merge(planned), computeNs, startNs, observed };
    } catch (error) {
      for (const { session, decision } of computing) {
        if (decision.type !== "compute" || decision.truncateTo === undefined) continue;
        const { fence, branch } = decision.next;
        session.position = { fence, branch, nextPosition: decision.truncateTo };
        session.kept = undefined;
      }
      throw nameSession(error, computing);
    }
  }

  #plan(step: IncomingStep): readonly Planned[] {
    if (step.epoch !== this.#epoch) {
      throw new NoodleError("STALE_EPOCH", `step of epoch ${step.epoch}, the stage serves epoch ${this.#epoch}`, {
        details: { haveEpoch: this.#epoch },
      });
    }
    const nowMs = this.#nowMs();
    const seen = new Set<string>();
    const planned: Planned[] = [];
    const refused = new Map<string, NoodleError>();
    let firstRow = 0;
    let firstHiddenRow = 0;
    for (const run of step.runs) {
      if (seen.has(run.sessionId)) throw new NoodleError("FRAME_INVALID", `session ${run.sessionId} twice in a step`);
      seen.add(run.sessionId);
      const hiddenRows = this.#isBehindBlocks() ? countOutputRows([run]) : run.rows;
      try {
        const { session, decision } = this.#accept(run, step.epoch, nowMs);
        planned.push({ run, session, decision, firstRow, firstHiddenRow, hiddenRows });
      } catch (error) {
        refused.set(run.sessionId, NoodleError.from(error));
      }
      firstRow += run.rows;
      firstHiddenRow += hiddenRows;
    }
    const [first] = refused.values();
    if (first !== undefined) throw addDetails(first, { sessionIds: [...refused.keys()] });
    this.#checkWorth(planned);
    return planned;
  }

  /** @throws when the step rules refuse the run */
  #accept(run: FrameRun, epoch: number, nowMs: number): Pick<Planned, "session" | "decision"> {
    const session = this.#sessions.get(run.sessionId);
    session.lastHeardMs = nowMs;
    if (session.slot !== run.slot) {
      throw new NoodleError("FRAME_INVALID", `session ${run.sessionId} has slot ${session.slot}, not ${run.slot}`);
    }
    const limits = { epoch: this.#epoch, contextTokens: this.#info.contextTokens };
    const decision = decideStep(session.position, { epoch, ...run }, limits);
    if (decision.type !== "refuse") return { session, decision };
    const { code, reason, details } = decision;
    throw new NoodleError(code, `session ${run.sessionId}: ${reason}`, { details });
  }

  /** @throws SESSION_NOT_FOUND when nobody waits for the step any more, FRAME_INVALID when nobody could take its answer */
  #checkWorth(planned: readonly Planned[]): void {
    if (planned.every(({ session }) => session.isClosing)) {
      throw new NoodleError("SESSION_NOT_FOUND", "every session of the step is being closed", {
        details: { sessionIds: planned.map(({ session }) => session.id) },
      });
    }
    const rowsOfLogits = planned.filter(({ session, run }) => session.wantLogits && run.output !== "none").length;
    const logitsBytes = rowsOfLogits * this.#info.nVocab * 4;
    if (this.#info.hasHead && rowsOfLogits > 1 && logitsBytes > MESSAGE_CAP_BYTES) {
      const text = `logits of ${rowsOfLogits} sessions are ${logitsBytes} bytes, a result holds ${MESSAGE_CAP_BYTES}`;
      throw new NoodleError("FRAME_INVALID", `${text}: ask for those of fewer sessions in one step`);
    }
  }

  /** The stage's units begin behind the last block: only output rows come in. */
  #isBehindBlocks(): boolean {
    return this.#info.units.first === this.#info.unitCount - 1 && this.#info.unitCount > 1;
  }

  #input(step: IncomingStep, planned: readonly Planned[], computing: readonly Planned[]): StageInput {
    const runs = computing.map(
      ({ run, session }): RowRun => ({
        slot: session.slot,
        position: run.position,
        rows: run.rows,
        output: run.output,
        topLogprobs: run.topLogprobs,
        following: run.following,
      }),
    );
    const hidden = this.#info.hasEmbedding ? null : (step.hidden ?? new Float32Array(0));
    if (computing.length === planned.length) return { runs, tokens: step.tokens, hidden, pads: step.pads };
    const { nEmbd } = this.#info;
    const tokens = computing.flatMap(({ run, firstRow }) => [...step.tokens.subarray(firstRow, firstRow + run.rows)]);
    const rows = (part: Planned): Float32Array =>
      must(hidden, "hidden state").subarray(
        part.firstHiddenRow * nEmbd,
        (part.firstHiddenRow + part.hiddenRows) * nEmbd,
      );
    return {
      runs,
      tokens: Int32Array.from(tokens),
      hidden: hidden === null ? null : concatenate(computing.map(rows)),
      pads: [...step.pads, ...this.#standIns(planned)],
    };
  }

  /** Single rows that are not computed again leave a dummy behind: the others are computed among as many rows as before. */
  #standIns(planned: readonly Planned[]): readonly number[] {
    return planned
      .filter(({ run, decision }) => decision.type === "resend" && run.rows === 1)
      .filter(({ session }) => session.position.nextPosition < this.#info.contextTokens)
      .map(({ session }) => session.slot);
  }

  #keep(computing: readonly Planned[], { hidden, sampled, logprobs }: StageOutput): void {
    const { nEmbd, endsBlocks } = this.#info;
    const logprobsOf = groupByRun(logprobs);
    let row = 0;
    for (const [index, { run, session, decision }] of computing.entries()) {
      const rows = endsBlocks ? countOutputRows([run]) : run.rows;
      const token = sampled.find((candidate) => candidate.run === index);
      session.kept = {
        hidden: hidden === null ? null : hidden.subarray(row * nEmbd, (row + rows) * nEmbd),
        sampled: token === undefined ? null : { tokenId: token.tokenId, logits: token.logits },
        logprobs: logprobsOf.get(index) ?? [],
      };
      if (decision.type === "compute") session.position = decision.next;
      row += rows;
    }
  }

  #merge(planned: readonly Planned[]): Pick<StepOutcome, "hidden" | "sampled" | "logprobs"> {
    const kept = planned.map(({ session }) => must(session.kept, "kept reply"));
    const sampled = kept.flatMap(({ sampled: token }, run) => (token === null ? [] : [{ run, ...token }]));
    const hidden = this.#info.hasHead ? null : concatenate(kept.map((reply) => must(reply.hidden, "hidden state")));
    const logprobs = kept.flatMap((reply, run) => reply.logprobs.map((row) => ({ run, ...row })));
    return { hidden, sampled, logprobs };
  }
}

function groupByRun(logprobs: readonly RowLogprobs[]): ReadonlyMap<number, readonly Omit<RowLogprobs, "run">[]> {
  const byRun = new Map<number, Omit<RowLogprobs, "run">[]>();
  for (const { run, ...row } of logprobs) {
    const rows = byRun.get(run);
    if (rows === undefined) byRun.set(run, [row]);
    else rows.push(row);
  }
  return byRun;
}

/** An engine that blames a slot blames its session. */
function nameSession(thrown: unknown, computing: readonly Planned[]): NoodleError {
  const error = NoodleError.from(thrown);
  const { slot } = error.details;
  const blamed = computing.find(({ session }) => session.slot === slot);
  return blamed === undefined ? error : addDetails(error, { sessionIds: [blamed.session.id] });
}

function addDetails(error: NoodleError, details: Readonly<Record<string, unknown>>): NoodleError {
  return new NoodleError(error.code, error.message, { details: { ...error.details, ...details }, cause: error });
}
