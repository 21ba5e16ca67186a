interface Waiting {
  readonly keys: readonly string[];
  readonly start: () => void;
}

/**
 * Starts actions in the order of their arrival, a small number at once, and never two that share a key. The engine so
 * has its next call before the one under way has ended, and nobody plans on a session whose step may still fail.
 */
export class StepQueue {
  readonly #depth: number;
  readonly #busy = new Set<string>();
  readonly #waiting: Waiting[] = [];
  #running = 0;

  /** @param depth actions that may be under way at once */
  constructor(depth: number) {
    this.#depth = depth;
  }

  /** @param keys what the action needs for itself: session ids */
  run<T>(keys: readonly string[], action: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const start = (): void => {
        this.#running += 1;
        for (const key of keys) this.#busy.add(key);
        action()
          .finally(() => this.#release(keys))
          .then(resolve, reject);
      };
      this.#waiting.push({ keys, start });
      this.#startNext();
    });
  }

  #release(keys: readonly string[]): void {
    this.#running -= 1;
    for (const key of keys) this.#busy.delete(key);
    this.#startNext();
  }

  #startNext(): void {
    for (;;) {
      const next = this.#waiting[0];
      if (next === undefined || this.#running >= this.#depth) return;
      if (next.keys.some((key) => this.#busy.has(key))) return;
      this.#waiting.shift();
      next.start();
    }
  }
}
