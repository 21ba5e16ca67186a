import type { RequestRecord } from "../observe/index.ts";

/** Where a request stands. */
interface RequestState {
  readonly startMonoNs: number;
  running: boolean;
  lastTokenMonoNs: number | null;
}

/** Requests that never end would be a fault elsewhere; they must not fill the memory here. */
const MAX_REQUESTS = 8192;

/** What a step's result was for one request. */
export interface TokenTiming {
  /** Since the request's start, for its first token; otherwise null. */
  readonly firstTokenNs: number | null;
  /** Since its token before; null for the first. */
  readonly gapNs: number | null;
}

/** The open requests: which of them run, and when each got its last token. */
export class RequestTable {
  readonly #requests = new Map<string, RequestState>();
  #runningCount = 0;

  /** Requests that have had a step. */
  get running(): number {
    return this.#runningCount;
  }

  /** Requests that have had no step yet. */
  get waiting(): number {
    return this.#requests.size - this.#runningCount;
  }

  start(record: Extract<RequestRecord, { type: "start" }>): void {
    const { requestId, monoNs } = record;
    if (this.#requests.has(requestId) || this.#requests.size >= MAX_REQUESTS) return;
    this.#requests.set(requestId, { startMonoNs: monoNs, running: false, lastTokenMonoNs: null });
  }

  has(requestId: string): boolean {
    return this.#requests.has(requestId);
  }

  /** A step of this request was sent. */
  run(requestId: string): void {
    const request = this.#requests.get(requestId);
    if (request === undefined || request.running) return;
    request.running = true;
    this.#runningCount += 1;
  }

  /** This request got a token; null unless it is open. */
  takeToken(requestId: string, monoNs: number): TokenTiming | null {
    const request = this.#requests.get(requestId);
    if (request === undefined) return null;
    const last = request.lastTokenMonoNs;
    request.lastTokenMonoNs = monoNs;
    return last === null
      ? { firstTokenNs: monoNs - request.startMonoNs, gapNs: null }
      : { firstTokenNs: null, gapNs: monoNs - last };
  }

  end(requestId: string): void {
    const request = this.#requests.get(requestId);
    if (request === undefined) return;
    if (request.running) this.#runningCount -= 1;
    this.#requests.delete(requestId);
  }
}
