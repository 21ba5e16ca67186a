import { must, NoodleError } from "../../common/index.ts";
import {
  encodeFrameMessages,
  type ForwardReply,
  type Frame,
  PROTOCOL_VERSION,
  type StepResult,
  StreamRole,
} from "../../protocol/index.ts";
import type { Fault } from "../state/index.ts";
import { type Clock, monotonicNs } from "./clock.ts";
import { toError, toFault, toNumber } from "./convert.ts";
import type { ForwardStream, StageClient } from "./stage-client.ts";
import { isPeerFault, readError, readGuilty, streamFault } from "./step-faults.ts";
import type { StepFacts, StepRecorder } from "./step-recorder.ts";

export interface PipelineListener {
  /** Another step may be sent. */
  onRoom(): void;
  onResult(result: StepResult): void;
  /** A step failed; the streams go on. */
  onStepFailed(step: FailedStep, fault: Fault): void;
  /** The streams are gone. Called at most once, and not after `close`. */
  onBroken(fault: Fault): void;
}

/** A step that was not computed. */
export interface FailedStep {
  readonly epoch: number;
  readonly stepId: number;
  readonly sessionIds: readonly string[];
  /** Sessions that the stage names as the cause; empty where it names none. */
  readonly guilty: readonly string[];
}

export interface PipelineOptions {
  readonly epoch: number;
  /** In order; owned by the pipeline. */
  readonly stages: readonly StageClient[];
  readonly clock: Clock;
  /** Longest time from a step's sending to its last sign. */
  readonly stepTimeoutMs: number;
  readonly listener: PipelineListener;
  /** Null where nobody observes: then nothing is recorded and no stage looks into a step. */
  readonly recorder: StepRecorder | null;
}

interface StepInFlight {
  readonly sessionIds: readonly string[];
  readonly sentMs: number;
  /** By the first stage: it has computed the step and passed it on. */
  acknowledged: boolean;
  /** By the last stage, which answers every step, with or without tokens. */
  answered: boolean;
}

const FROM_COORDINATOR = "coordinator";

/**
 * The coordinator's two streams into the stages of one epoch, shared by all sessions: steps go to the first stage,
 * sampled tokens come back from the last. Sends are bounded by the first stage's credits, so none waits.
 */
export class Pipeline {
  readonly epoch: number;
  readonly stages: readonly StageClient[];
  readonly #clock: Clock;
  readonly #stepTimeoutMs: number;
  readonly #listener: PipelineListener;
  readonly #recorder: StepRecorder | null;
  readonly #steps = new Map<number, StepInFlight>();
  #stepStream: ForwardStream | null = null;
  #resultStream: ForwardStream | null = null;
  #creditLimit = 0;
  #unacknowledged = 0;
  #nextStepId = 1;
  #over = false;
  #hopMs: number | null = null;

  constructor(options: PipelineOptions) {
    this.epoch = options.epoch;
    this.stages = options.stages;
    this.#clock = options.clock;
    this.#stepTimeoutMs = options.stepTimeoutMs;
    this.#listener = options.listener;
    this.#recorder = options.recorder;
  }

  /** Steps that may be sent now. */
  get credits(): number {
    return this.#over ? 0 : this.#creditLimit - this.#unacknowledged;
  }

  /** Half of what the last round trip to the first stage took beyond the time inside it; null before the first. */
  get firstHopMs(): number | null {
    return this.#hopMs;
  }

  /** Opens both streams. @throws the stage's refusal, PEER_STALLED when an answer does not come in time */
  async open(timeoutMs: number): Promise<void> {
    const first = this.stages[0];
    const last = this.stages.at(-1);
    if (first === undefined || last === undefined) throw new NoodleError("ILLEGAL_STATE", "a pipeline without stages");
    this.#resultStream = await this.#openStream(last, StreamRole.RESULTS, timeoutMs, () => undefined);
    this.#stepStream = await this.#openStream(first, StreamRole.STEPS, timeoutMs, (credits) => {
      this.#creditLimit = credits;
    });
  }

  /**
   * @param describe gives what the records say of the step; not called where nobody observes
   * @returns the step's id
   * @throws ILLEGAL_STATE without a credit
   */
  send(frame: Pick<Frame, "runs" | "tokens" | "pads">, describe: () => StepFacts): number {
    if (this.#stepStream === null || this.credits <= 0)
      throw new NoodleError("ILLEGAL_STATE", "a step without a credit");
    const stepId = this.#nextStepId++;
    this.#steps.set(stepId, {
      sessionIds: frame.runs.map((run) => run.sessionId),
      sentMs: this.#clock.nowMs(),
      acknowledged: false,
      answered: false,
    });
    this.#unacknowledged += 1;
    const observe = this.#recorder?.send(stepId, describe()) ?? "off";
    const whole: Frame = { ...frame, epoch: this.epoch, stepId, observe, traces: [], width: 0, hidden: null };
    const messages = encodeFrameMessages(whole);
    try {
      for (const message of messages) this.#stepStream.sendEncoded(message);
    } catch (error) {
      this.#break(streamFault(NoodleError.from(error), must(this.stages[0], "first stage")));
    }
    return stepId;
  }

  /** Breaks the pipeline when a step has been under way for too long. */
  checkDeadlines(): void {
    const nowMs = this.#clock.nowMs();
    for (const step of this.#steps.values()) {
      const waitedMs = nowMs - step.sentMs;
      if (waitedMs < this.#stepTimeoutMs) continue;
      const stage = step.acknowledged ? this.stages.at(-1) : this.stages[0];
      const nodeId = stage?.nodeId ?? "";
      const where = step.acknowledged ? "no result came from the last stage" : "the first stage did not take it";
      this.#break({
        code: "PEER_STALLED",
        message: `a step has been under way for ${Math.round(waitedMs)} ms (limit ${this.#stepTimeoutMs} ms): ${where}, worker ${stage?.name ?? "?"} (${nodeId})`,
        nodeId,
      });
      return;
    }
  }

  close(): void {
    this.#over = true;
    this.#steps.clear();
    this.#stepStream?.cancel();
    this.#resultStream?.cancel();
    for (const stage of this.stages) stage.close();
  }

  async #openStream(
    stage: StageClient,
    role: StreamRole,
    timeoutMs: number,
    onOpened: (credits: number) => void,
  ): Promise<ForwardStream> {
    const stream = await stage.openForward();
    return new Promise((resolve, reject) => {
      let opened = false;
      const timer = setTimeout(() => {
        fail(new NoodleError("PEER_STALLED", `no answer to the opening of the stream within ${timeoutMs} ms`));
        stream.cancel();
      }, timeoutMs);
      const fail = (error: NoodleError): void => {
        clearTimeout(timer);
        const fault = streamFault(error, stage);
        if (opened) this.#break(fault);
        else reject(toError(fault));
      };
      stream.listen({
        onMessage: ({ message }) => {
          if (message.case === "opened" && !opened) {
            if (message.value.epoch !== BigInt(this.epoch)) {
              throw new NoodleError("STALE_EPOCH", `the stage serves epoch ${message.value.epoch}, not ${this.epoch}`);
            }
            opened = true;
            clearTimeout(timer);
            onOpened(message.value.credits);
            resolve(stream);
          } else if (message.case === "error" && !opened) {
            fail(readError(message.value));
          } else {
            this.#receive(message, stage);
          }
        },
        onEnd: () => fail(new NoodleError("PEER_DEAD", "it ended the stream")),
        onError: fail,
      });
      try {
        const open = { epoch: BigInt(this.epoch), role, fromNode: FROM_COORDINATOR, protocolVersion: PROTOCOL_VERSION };
        stream.send({ message: { case: "open", value: open } });
      } catch (error) {
        fail(NoodleError.from(error));
      }
    });
  }

  #receive(message: ForwardReply["message"], stage: StageClient): void {
    if (this.#over) return;
    switch (message.case) {
      case "ack": {
        const stepId = toNumber(message.value.stepId, "step_id");
        const step = this.#steps.get(stepId);
        if (step === undefined || step.acknowledged) return;
        step.acknowledged = true;
        this.#unacknowledged -= 1;
        const insideMs = Number(message.value.insideNs) / 1e6;
        this.#hopMs = Math.max(0, (this.#clock.nowMs() - step.sentMs - insideMs) / 2);
        if (step.answered) this.#steps.delete(stepId);
        this.#listener.onRoom();
        return;
      }
      case "result": {
        const stepId = toNumber(message.value.stepId, "step_id");
        const step = this.#steps.get(stepId);
        // A result can overtake the acknowledgement, which comes on another stream and still grants its credit.
        if (step?.acknowledged === true) this.#steps.delete(stepId);
        else if (step !== undefined) step.answered = true;
        const receivedMonoNs = monotonicNs();
        // The token first: the next step leaves before anybody is told of this one.
        this.#listener.onResult(message.value);
        const firstHopNs = this.#hopMs === null ? null : Math.round(this.#hopMs * 1e6);
        this.#recorder?.receive(message.value, stepId, receivedMonoNs, firstHopNs);
        return;
      }
      case "error": {
        const error = readError(message.value);
        const fault = this.#blame(error, stage);
        const stepId = this.#findFailed(toNumber(message.value.stepId, "step_id"), error);
        if (stepId === 0) {
          this.#break(fault);
          return;
        }
        const step = this.#steps.get(stepId);
        if (step === undefined) return;
        this.#steps.delete(stepId);
        this.#recorder?.fail(stepId);
        if (!step.acknowledged) this.#unacknowledged -= 1;
        const { sessionIds } = step;
        this.#listener.onStepFailed({ epoch: this.epoch, stepId, sessionIds, guilty: readGuilty(error) }, fault);
        this.#listener.onRoom();
        return;
      }
      case "opened":
      case undefined:
        return;
      default:
        message satisfies never;
    }
  }

  /** The step that an error is about; 0 for the stream itself. A damaged frame has no id: it is the oldest one sent. */
  #findFailed(stepId: number, error: NoodleError): number {
    if (stepId !== 0 || (error.code !== "FRAME_CORRUPT" && error.code !== "FRAME_INVALID")) return stepId;
    for (const [id, step] of this.#steps) if (!step.acknowledged) return id;
    return 0;
  }

  /** A stage that lost its neighbour reports it under its own name: the neighbour is meant. */
  #blame(error: NoodleError, reporter: StageClient): Fault {
    const fault = toFault(error, reporter.nodeId);
    const peer = error.details["peer"];
    const meant = isPeerFault(fault) ? this.stages.find((stage) => stage.nodeId === peer) : undefined;
    return meant === undefined ? fault : { ...fault, nodeId: meant.nodeId };
  }

  #break(fault: Fault): void {
    if (this.#over) return;
    this.close();
    this.#listener.onBroken(fault);
  }
}
