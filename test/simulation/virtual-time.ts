/** A process of the simulated cluster. What it has set in motion ends with it, and waits while it stands still. */
export class SimProcess {
  readonly name: string;
  /** Processes of one machine are cut off from others together. */
  readonly machine: string;
  isAlive = true;
  /** It does nothing before this time, as under SIGSTOP. */
  stalledUntilMs = 0;
  readonly #onDeath: (() => void)[] = [];

  constructor(name: string, machine = name) {
    this.name = name;
    this.machine = machine;
  }

  onDeath(action: () => void): void {
    this.#onDeath.push(action);
  }

  /** As SIGKILL. */
  kill(): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    for (const action of this.#onDeath) action();
  }
}

class Timer {
  atMs: number;
  order: number;
  readonly owner: SimProcess | null;
  readonly action: () => void;
  readonly everyMs: number | null;
  isCancelled = false;

  constructor(atMs: number, order: number, owner: SimProcess | null, action: () => void, everyMs: number | null) {
    this.atMs = atMs;
    this.order = order;
    this.owner = owner;
    this.action = action;
    this.everyMs = everyMs;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return true;
  }
}

/** Wall clock at time 0 of a simulation. */
const EPOCH_MS = 1_800_000_000_000;

/**
 * Time and order of a simulation: a heap of things to do. While it is installed, timers and clocks of the language are
 * its own, so that the code under test runs unchanged. One thing at a time, each to the end of what it sets in motion
 * without waiting, on behalf of one process.
 */
export class VirtualTime {
  nowMs = 0;
  /** On whose behalf something is done right now. */
  current: SimProcess | null = null;
  steps = 0;
  readonly #heap: Timer[] = [];
  readonly #random: () => number;
  #order = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** @returns what `cancel` takes */
  schedule(delayMs: number, owner: SimProcess | null, action: () => void, everyMs: number | null = null): object {
    const delay = Number.isFinite(delayMs) ? Math.max(0, delayMs) : 0;
    this.#order += 1;
    const timer = new Timer(this.nowMs + delay, this.#order, owner, action, everyMs);
    this.#push(timer);
    return timer;
  }

  cancel(timer: unknown): void {
    if (timer instanceof Timer) timer.isCancelled = true;
  }

  /** @returns a function that puts the language's own clocks and timers back */
  install(): () => void {
    const { gc } = globalThis;
    const own = { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate, gc };
    const { now: dateNow } = Date;
    const { random } = Math;
    const putBack = keepProperties(
      [process.hrtime, ["bigint"]],
      [process, ["cpuUsage", "constrainedMemory"]],
      [process.memoryUsage, ["rss"]],
    );
    const cancel = (timer: unknown): void => this.cancel(timer);
    const later =
      (repeats: boolean) =>
      (action: (...args: unknown[]) => void, delayMs = 0, ...args: unknown[]): object => {
        const everyMs = repeats ? Math.max(1, delayMs) : null;
        return this.schedule(Math.max(1, delayMs), this.current, () => action(...args), everyMs);
      };
    Object.assign(globalThis, {
      setTimeout: later(false),
      setInterval: later(true),
      setImmediate: (action: (...args: unknown[]) => void, ...args: unknown[]) =>
        this.schedule(0, this.current, () => action(...args)),
      clearTimeout: cancel,
      clearInterval: cancel,
      clearImmediate: cancel,
      // Nothing is unused that would be worth the time.
      gc: () => undefined,
    });
    Object.defineProperty(performance, "now", { value: () => this.nowMs, configurable: true, writable: true });
    Date.now = () => EPOCH_MS + Math.round(this.nowMs);
    process.hrtime.bigint = () => BigInt(Math.round(this.nowMs * 1e6));
    Math.random = this.#random;
    // What the machine says of itself takes time, and differs.
    process.cpuUsage = () => ({ user: 0, system: 0 });
    process.constrainedMemory = () => 0;
    process.memoryUsage.rss = () => 0;
    return () => {
      Object.assign(globalThis, own);
      Reflect.deleteProperty(performance, "now");
      Date.now = dateNow;
      Math.random = random;
      putBack();
    };
  }

  /**
   * Does what is to be done, in order of time, until `isOver` says so or time runs out. Between two things everything
   * that waits for a promise goes as far as it can.
   *
   * @throws what a thing that was done has thrown
   */
  run(untilMs: number, isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        this.current = null;
        try {
          if (isOver() || !this.#doNext(untilMs)) {
            resolve();
            return;
          }
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
          return;
        }
        // A tick behind all microtasks, those that they make included.
        queueMicrotask(() => process.nextTick(turn));
      };
      turn();
    });
  }

  #doNext(untilMs: number): boolean {
    for (;;) {
      const timer = this.#heap[0];
      if (timer === undefined || timer.atMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs);
        return false;
      }
      this.#pop();
      const { owner } = timer;
      if (timer.isCancelled || owner?.isAlive === false) continue;
      this.nowMs = Math.max(this.nowMs, timer.atMs);
      if (owner !== null && owner.stalledUntilMs > this.nowMs) {
        timer.atMs = owner.stalledUntilMs;
        this.#push(timer);
        continue;
      }
      if (timer.everyMs !== null) {
        timer.atMs = this.nowMs + timer.everyMs;
        this.#order += 1;
        timer.order = this.#order;
        this.#push(timer);
      }
      this.current = owner;
      this.steps += 1;
      timer.action();
      return true;
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const other = heap[above] as Timer;
      if (!isBefore(timer, other)) break;
      heap[at] = other;
      at = above;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1] as Timer, heap[below] as Timer)) below += 1;
      if (!isBefore(heap[below] as Timer, last)) break;
      heap[at] = heap[below] as Timer;
      at = below;
    }
    heap[at] = last;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** @returns a function that gives the properties the values that they have now */
function keepProperties(...kept: readonly (readonly [object, readonly string[]])[]): () => void {
  const values = kept.flatMap(([owner, names]) =>
    names.map((name) => ({ owner, name, value: Reflect.get(owner, name) as unknown })),
  );
  return () => {
    for (const { owner, name, value } of values) Reflect.set(owner, name, value);
  };
}
