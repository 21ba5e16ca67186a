import type { NoodleError } from "../../common/index.ts";
import type { FinishReason } from "./generate-event.ts";

/** Whether and how a session has ended. Only the first end counts. */
export class SessionFate {
  readonly #abort = new AbortController();
  #failure: NoodleError | undefined;
  #finish: FinishReason | null = null;

  /** Null while it runs, or has failed. */
  get finishReason(): FinishReason | null {
    return this.#finish;
  }

  /** What it failed with; undefined while it did not. */
  get failure(): NoodleError | undefined {
    return this.#failure;
  }

  get isOver(): boolean {
    return this.#finish !== null || this.#failure !== undefined;
  }

  /** Aborted when it is over, one way or the other. */
  get over(): AbortSignal {
    return this.#abort.signal;
  }

  fail(error: NoodleError): void {
    if (this.isOver) return;
    this.#failure = error;
    this.#abort.abort(error);
  }

  finish(reason: FinishReason): void {
    if (this.isOver) return;
    this.#finish = reason;
    this.#abort.abort();
  }
}
