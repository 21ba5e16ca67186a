import type { NoodleError } from "../../common/index.ts";

/**
 * Values handed from callbacks to one reader. The writer is never blocked: it looks at `size` and holds back by itself.
 */
export class EventQueue<T> {
  #values: T[] = [];
  #ended = false;
  #error: NoodleError | undefined;
  #wake: (() => void) | undefined;
  #taken = 0;

  /** Values that wait for the reader. */
  get size(): number {
    return this.#values.length;
  }

  /** Values that the reader has taken. */
  get taken(): number {
    return this.#taken;
  }

  get ended(): boolean {
    return this.#ended;
  }

  push(value: T): void {
    if (this.#ended) return;
    this.#values.push(value);
    this.#wake?.();
  }

  /** The reader gets what is queued, then the error where there is one, then the end. Only the first call counts. */
  end(error?: NoodleError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  /** Throws away what waits, ended or not: the reader gets the error. */
  drop(error: NoodleError): void {
    this.#values = [];
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  /** The next value, or undefined at the end. One reader at a time. */
  async next(): Promise<T | undefined> {
    while (true) {
      const value = this.#values.shift();
      if (value !== undefined) {
        this.#taken += 1;
        return value;
      }
      if (this.#ended) {
        const error = this.#error;
        this.#error = undefined;
        if (error !== undefined) throw error;
        return undefined;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
