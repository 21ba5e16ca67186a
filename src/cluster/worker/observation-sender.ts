import { create, toBinary } from "@bufbuild/protobuf";
import { type Observation, WorkerMessageSchema } from "../../protocol/index.ts";

/** Observations that may be on their way to the supervisor at once. */
const MAX_PENDING = 64;

/** More segments than one step of any model has at level `node`; what is larger is dropped. */
const MAX_SEGMENTS = 32_768;

/**
 * Hands observations over without ever waiting: beyond a small number that the receiver has not taken yet, they are
 * dropped and counted.
 */
export class ObservationSender {
  readonly #send: (message: Uint8Array, onSent: () => void) => void;
  #pending = 0;
  #dropped = 0;

  /** @param send takes an encoded `WorkerMessage`, and calls back when it has left */
  constructor(send: (message: Uint8Array, onSent: () => void) => void) {
    this.#send = send;
  }

  get dropped(): number {
    return this.#dropped;
  }

  push(observation: Observation): void {
    if (this.#pending >= MAX_PENDING || observation.segmentUnit.length > MAX_SEGMENTS) {
      this.#dropped += 1;
      return;
    }
    this.#pending += 1;
    const message = create(WorkerMessageSchema, { message: { case: "observation", value: observation } });
    this.#send(toBinary(WorkerMessageSchema, message), () => {
      this.#pending -= 1;
    });
  }
}
