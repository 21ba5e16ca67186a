import { must, NoodleError } from "../../common/index.ts";
import type { RowRun, SampledToken, StageInfo, StageInput } from "../../engine/index.ts";
import type { StepObservation } from "../../observe/index.ts";
import { countOutputRows, type Frame, type FrameRun } from "../../protocol/index.ts";
import type { Session, SessionTable } from "./sessions.ts";
import type { AsyncEngine } from "./stage-thread.ts";
import { decideStep, type StepDecision } from "./step-rules.ts";

/** A frame whose shape was checked against the plan. `hidden`'s buffer is given away. */
export type IncomingStep = Pick<Frame, "epoch" | "observe" | "runs" | "tokens" | "hidden">;

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
  /** 0 when every run was answered from its kept reply. */
  readonly computeNs: number;
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
   * the engine's errors with the sessions where they were before the step
   */
  async run(step: IncomingStep): Promise<StepOutcome> {
    const planned = this.#plan(step);
    const computing = planned.filter(({ decision }) => decision.type === "compute");
    if (computing.length === 0) return this.#merge(planned, 0, null);
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
      this.#keep(computing, output.hidden, output.sampled);
      const { observation, startNs, endNs } = output;
      return this.#merge(planned, output.computeNs, observation === null ? null : { observation, startNs, endNs });
    } catch (error) {
      for (const { session, decision } of computing) {
        if (decision.type !== "compute" || decision.truncateTo === undefined) continue;
        const { fence, branch } = decision.next;
        session.position = { fence, branch, nextPosition: decision.truncateTo };
        session.kept = undefined;
      }
      throw error;
    }
  }

  #plan(step: IncomingStep): readonly Planned[] {
    if (step.epoch !== this.#epoch) {
      throw new NoodleError("STALE_EPOCH", `step of epoch ${step.epoch}, the stage serves epoch ${this.#epoch}`, {
        details: { haveEpoch: this.#epoch },
      });
    }
    const nowMs = this.#nowMs();
    const limits = { epoch: this.#epoch, contextTokens: this.#info.contextTokens };
    const seen = new Set<string>();
    const planned: Planned[] = [];
    let firstRow = 0;
    let firstHiddenRow = 0;
    for (const run of step.runs) {
      if (seen.has(run.sessionId)) throw new NoodleError("FRAME_INVALID", `session ${run.sessionId} twice in a step`);
      seen.add(run.sessionId);
      const session = this.#sessions.get(run.sessionId);
      session.lastHeardMs = nowMs;
      if (session.slot !== run.slot) {
        throw new NoodleError("FRAME_INVALID", `session ${run.sessionId} has slot ${session.slot}, not ${run.slot}`);
      }
      const decision = decideStep(session.position, { epoch: step.epoch, ...run }, limits);
      if (decision.type === "refuse") {
        throw new NoodleError(decision.code, `session ${run.sessionId}: ${decision.reason}`, {
          details: decision.details,
        });
      }
      const hiddenRows = this.#isBehindBlocks() ? countOutputRows([run]) : run.rows;
      planned.push({ run, session, decision, firstRow, firstHiddenRow, hiddenRows });
      firstRow += run.rows;
      firstHiddenRow += hiddenRows;
    }
    return planned;
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
      }),
    );
    const hidden = this.#info.hasEmbedding ? null : (step.hidden ?? new Float32Array(0));
    if (computing.length === planned.length) return { runs, tokens: step.tokens, hidden };
    const { nEmbd } = this.#info;
    const tokens = computing.flatMap(({ run, firstRow }) => [...step.tokens.subarray(firstRow, firstRow + run.rows)]);
    const rows = (part: Planned): Float32Array =>
      must(hidden, "hidden state").subarray(
        part.firstHiddenRow * nEmbd,
        (part.firstHiddenRow + part.hiddenRows) * nEmbd,
      );
    return { runs, tokens: Int32Array.from(tokens), hidden: hidden === null ? null : concatenate(computing.map(rows)) };
  }

  #keep(computing: readonly Planned[], hidden: Float32Array | null, sampled: readonly SampledToken[]): void {
    const { nEmbd, endsBlocks } = this.#info;
    let row = 0;
    for (const [index, { run, session, decision }] of computing.entries()) {
      const rows = endsBlocks ? countOutputRows([run]) : run.rows;
      const token = sampled.find((candidate) => candidate.run === index);
      session.kept = {
        hidden: hidden === null ? null : hidden.subarray(row * nEmbd, (row + rows) * nEmbd),
        sampled: token === undefined ? null : { tokenId: token.tokenId, logits: token.logits },
      };
      if (decision.type === "compute") session.position = decision.next;
      row += rows;
    }
  }

  #merge(planned: readonly Planned[], computeNs: number, observed: ObservedCall | null): StepOutcome {
    const kept = planned.map(({ session }) => must(session.kept, "kept reply"));
    const sampled = kept.flatMap(({ sampled: token }, run) => (token === null ? [] : [{ run, ...token }]));
    const hidden = this.#info.hasHead ? null : concatenate(kept.map((reply) => must(reply.hidden, "hidden state")));
    return { hidden, sampled, computeNs, observed };
  }
}

/** One array of all parts. A single part is passed on as it is. */
function concatenate(parts: readonly Float32Array[]): Float32Array {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return first;
  // Parts that lie one behind another in one buffer, as those of one engine call do, need no copy.
  let next = first?.byteOffset ?? 0;
  const joined = parts.every((part) => {
    const follows = part.buffer === first?.buffer && part.byteOffset === next;
    next += part.byteLength;
    return follows;
  });
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (joined && first !== undefined) return new Float32Array(first.buffer as ArrayBuffer, first.byteOffset, length);
  const all = new Float32Array(length);
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}
