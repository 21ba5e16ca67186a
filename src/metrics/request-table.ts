import type { RequestRecord, StepRecord } from "../observe/index.ts";

/** Where a request stands. */
interface RequestState {
  /** Tokens that its prefill has to read before there is one; infinite when it wants none. */
  readonly firstTokenAt: number;
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
    const { requestId, monoNs, promptTokens, maxTokens } = record;
    if (this.#requests.has(requestId) || this.#requests.size >= MAX_REQUESTS) return;
    const firstTokenAt = maxTokens > 0 ? promptTokens : Number.POSITIVE_INFINITY;
    this.#requests.set(requestId, { firstTokenAt, startMonoNs: monoNs, running: false, lastTokenMonoNs: null });
  }

  /** A step of this request was sent. */
  run(requestId: string): void {
    const request = this.#requests.get(requestId);
    if (request === undefined || request.running) return;
    request.running = true;
    this.#runningCount += 1;
  }

  /** What an answered step gave this request: null unless it is open and this was not a chunk before its prompt's end. */
  takeToken(requestId: string, step: StepRecord): TokenTiming | null {
    const request = this.#requests.get(requestId);
    const monoNs = step.receivedMonoNs;
    if (request === undefined || monoNs === null) return null;
    if (step.phase === "prefill" && step.contextTokens < request.firstTokenAt) return null;
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
