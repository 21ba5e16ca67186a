import type { NoodleError } from "../common/index.ts";

/** What client and server calls of the library have in common for writing. */
export interface WritableCall {
  write(message: Buffer, onWritten: (error?: Error | null) => void): boolean;
}

/** Bytes handed to the library and not yet taken by HTTP/2, above which a writer should wait. */
export const WRITE_HIGH_WATER_BYTES = 4 * 1024 * 1024;

/** Drop the written part of the queue of sizes when it gets this long. */
const COMPACT_AT = 256;

/**
 * Back-pressure in bytes. The library counts messages instead (16 of them, each up to 4 MiB), so its own signal would
 * let 64 MiB pile up for one slow reader.
 */
export class MessageWriter {
  readonly #call: WritableCall;
  readonly #highWaterBytes: number;
  /** Sizes of the messages that wait, in order, from `#head` on: the write callbacks come in order. */
  readonly #sizes: number[] = [];
  #head = 0;
  #pendingBytes = 0;
  #waiters: { resolve: () => void; reject: (error: NoodleError) => void }[] = [];
  #failure: NoodleError | null = null;

  constructor(call: WritableCall, highWaterBytes: number) {
    this.#call = call;
    this.#highWaterBytes = highWaterBytes;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get hasRoom(): boolean {
    return this.#pendingBytes < this.#highWaterBytes;
  }

  /**
   * Hands the message to the library at once.
   *
   * @returns false when the caller should wait for `drained()` before the next
   * @throws the error that ended the stream
   */
  send(message: Buffer): boolean {
    if (this.#failure !== null) throw this.#failure;
    this.#sizes.push(message.length);
    this.#pendingBytes += message.length;
    this.#call.write(message, this.#onWritten);
    return this.hasRoom;
  }

  /** Waits until the library holds less than the high-water mark. Rejects with the error that ended the stream. */
  drained(): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.hasRoom) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** Everything after this fails with `error`; waiters are told. Only the first error counts. */
  fail(error: NoodleError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(error);
  }

  /** One function for all messages. Errors reach the owner through the call's own events. */
  readonly #onWritten = (): void => {
    this.#pendingBytes -= this.#sizes[this.#head++] ?? 0;
    if (this.#head === this.#sizes.length || this.#head >= COMPACT_AT) {
      this.#sizes.splice(0, this.#head);
      this.#head = 0;
    }
    if (this.#waiters.length === 0 || !this.hasRoom) return;
    // All of them: each will look at the mark again before it sends.
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.resolve();
  };
}
