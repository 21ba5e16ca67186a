import { NoodleError } from "../../common/index.ts";

export interface RegistrationOptions {
  /** host:port of the coordinator. */
  readonly join: string;
  readonly timeoutMs: number;
  /** The worker is being stopped. */
  readonly signal: AbortSignal;
}

/** The wait for the first registration. */
export class Registration {
  /**
   * Settles when the worker is registered.
   *
   * @throws PEER_UNREACHABLE when that takes too long, INTERRUPTED when the worker is stopped, the coordinator's refusal
   */
  readonly done: Promise<void>;
  #lastError: NoodleError | undefined;
  #succeed: () => void = () => undefined;
  #fail: (error: NoodleError) => void = () => undefined;

  constructor({ join, timeoutMs, signal }: RegistrationOptions) {
    this.done = new Promise<void>((resolve, reject) => {
      this.#succeed = resolve;
      this.#fail = reject;
    });
    const timer = setTimeout(() => {
      const why = this.#lastError === undefined ? "" : `: ${this.#lastError.message}`;
      this.#fail(
        new NoodleError("PEER_UNREACHABLE", `no coordinator at ${join} within ${timeoutMs} ms (--join)${why}`),
      );
    }, timeoutMs);
    const stop = (): void => this.#fail(new NoodleError("INTERRUPTED", "stopped before the registration"));
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    };
    this.done.then(settle, settle);
  }

  succeed(): void {
    this.#succeed();
  }

  /** It is over: the coordinator will not have this worker. */
  refuse(error: NoodleError): void {
    this.#fail(error);
  }

  /** An attempt has failed; another one follows. */
  noteFailure(error: NoodleError): void {
    this.#lastError = error;
  }
}
