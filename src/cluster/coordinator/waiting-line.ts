import { NoodleError } from "../../common/index.ts";
import { agePriority, chooseNext, countPassed, type Passed } from "../../schedule/index.ts";

/** How many requests may wait for a slot. */
export interface QueueLimits {
  /** Of all clients. */
  readonly total: number;
  /** Of one named client. */
  readonly perClient: number;
}

export interface WaitingRequest {
  /** "" = not named: then only the total counts. */
  readonly client: string;
  readonly priority: number;
}

interface Entry<T> extends WaitingRequest {
  readonly readySince: number;
  readonly request: T;
}

/**
 * Requests that wait for a slot. The largest priority goes first, clients take turns, each in the order of arrival.
 * Priorities age: one that was passed over often enough has a turn.
 */
export class WaitingLine<T extends WaitingRequest> {
  readonly #limits: QueueLimits;
  readonly #entries = new Map<T, Entry<T>>();
  readonly #perClient = new Map<string, number>();
  #lastClient: string | null = null;
  #passed: readonly Passed[] = [];
  #arrivals = 0;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get length(): number {
    return this.#entries.size;
  }

  /**
   * @param retryAfterMs what the error tells the client to wait
   * @throws QUEUE_FULL
   */
  join(request: T, retryAfterMs: number): void {
    const { client, priority } = request;
    const own = this.#perClient.get(client) ?? 0;
    const { total, perClient } = this.#limits;
    if (this.length >= total) refuse(`${this.length} requests wait, the limit is ${total} (--queue)`, retryAfterMs);
    if (client !== "" && own >= perClient)
      refuse(`${own} requests of this client wait, the limit is ${perClient} (--queue-per-client)`, retryAfterMs);
    this.#arrivals += 1;
    this.#entries.set(request, { client, priority, readySince: this.#arrivals, request });
    this.#perClient.set(client, own + 1);
  }

  /** Takes the one whose turn it is out of the line. */
  next(): T | null {
    const entries = [...this.#entries.values()];
    const aged = entries.map((entry) => ({ ...entry, priority: agePriority(entry.priority, this.#passed) }));
    const chosen = chooseNext(aged, this.#lastClient);
    if (chosen === null) return null;
    const { request, client } = chosen;
    this.#lastClient = client;
    const waiting = entries.map(({ priority }) => priority);
    this.#passed = countPassed(this.#passed, waiting, [request.priority]);
    this.leave(request);
    return request;
  }

  /** @returns false when it did not wait any more */
  leave(request: T): boolean {
    if (!this.#entries.delete(request)) return false;
    const left = (this.#perClient.get(request.client) ?? 1) - 1;
    if (left === 0) this.#perClient.delete(request.client);
    else this.#perClient.set(request.client, left);
    return true;
  }

  /** All that wait, in the order of arrival. */
  [Symbol.iterator](): Iterator<T> {
    return [...this.#entries.keys()][Symbol.iterator]();
  }
}

function refuse(text: string, retryAfterMs: number): never {
  throw new NoodleError("QUEUE_FULL", text, { details: { retryAfterMs } });
}
