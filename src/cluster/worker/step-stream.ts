import { NoodleError } from "../../common/index.ts";
import { type Frame, FrameAssembler } from "../../protocol/index.ts";
import type { ActiveStage } from "./active-stage.ts";
import { Lane } from "./lane.ts";
import { makeStepAck, makeStepError } from "./replies.ts";
import type { ReplySink } from "./reply-sink.ts";

/** Steps that may be in flight on a stream: one is computed while the next is on its way. */
export const STREAM_CREDITS = 2;

/** The receiving end of a stream of steps. Answers each frame once, in the order of arrival. */
export class StepStream {
  readonly #active: ActiveStage;
  readonly #sink: ReplySink;
  readonly #nodeId: string;
  readonly #assembler = new FrameAssembler();
  readonly #replies = new Lane();
  #inFlight = 0;

  constructor(active: ActiveStage, sink: ReplySink, nodeId: string) {
    this.#active = active;
    this.#sink = sink;
    this.#nodeId = nodeId;
  }

  /**
   * Takes a part of a frame.
   *
   * @throws FRAME_INVALID when the sequence of chunks has no sense any more and the stream must end
   */
  take(data: Uint8Array, last: boolean): void {
    const bytes = this.#assembler.push(data, last);
    if (bytes === null) return;
    const arrivalNs = process.hrtime.bigint();
    this.#inFlight += 1;
    // A sender that ignores its credits is held by the transport's flow control.
    if (this.#inFlight > STREAM_CREDITS) this.#sink.pause();
    let frame: Frame;
    try {
      frame = this.#active.decode(bytes);
    } catch (error) {
      this.#reply(async () => this.#refuse(0, error));
      return;
    }
    const decodeNs = Number(process.hrtime.bigint() - arrivalNs);
    const computed = this.#active.compute(frame, this.#sink, arrivalNs);
    // The reply below handles a rejection, but may come to it later than the rejection happens.
    computed.catch(() => undefined);
    this.#reply(async () => {
      try {
        const { outcome, waitedNs } = await computed;
        const serializeNs = decodeNs + this.#active.encodeNs;
        const queueNs = Math.max(0, waitedNs - decodeNs);
        const { computeNs } = outcome;
        const timing = { queueNs, computeNs, serializeNs, bytesIn: bytes.length };
        await this.#active.deliver(frame, outcome, timing);
        this.#active.counter.add(frame, timing);
        this.#active.observe(frame, outcome, { arrivalNs, sentNs: process.hrtime.bigint() });
      } catch (error) {
        return await this.#refuse(frame.stepId, error);
      }
      await this.#sink.write(makeStepAck(frame.stepId, process.hrtime.bigint() - arrivalNs));
    });
  }

  #reply(action: () => Promise<void>): void {
    this.#replies
      .run(action)
      .catch(() => this.#active.forget(this.#sink))
      .finally(() => {
        this.#inFlight -= 1;
        if (this.#inFlight === STREAM_CREDITS) this.#sink.resume();
      });
  }

  async #refuse(stepId: number, error: unknown): Promise<void> {
    this.#active.counter.addFailure();
    await this.#sink.write(makeStepError(stepId, NoodleError.from(error), this.#nodeId));
  }
}
