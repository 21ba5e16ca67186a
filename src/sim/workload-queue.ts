import { must, NoodleError } from "../common/index.ts";
import type { SimRequest, Workload } from "./types.ts";

/** Hands out the requests of a workload: by the clock, or to each client when its last one has ended. */
export class WorkloadQueue {
  readonly requests: readonly SimRequest[];
  readonly blockTokens: number;
  readonly #closed: boolean;
  #next = 0;
  /** Of a closed loop: the request that its client sends behind each; -1 = none. */
  readonly #behind: Int32Array;
  readonly #first: number[] = [];

  /** @throws SIMULATION_INVALID naming the request */
  constructor({ loop, requests, blockTokens = 512 }: Workload) {
    for (const [index, request] of requests.entries()) checkRequest(request, index);
    this.requests = requests;
    this.blockTokens = blockTokens;
    this.#closed = loop === "closed";
    this.#behind = new Int32Array(this.#closed ? requests.length : 0).fill(-1);
    if (this.#closed) this.#link();
    else this.#checkOrder();
  }

  /** What comes first: of an open loop one request, of a closed one the first of each client. */
  begin(): readonly { readonly request: number; readonly atMs: number }[] {
    if (!this.#closed) return this.#takeNext();
    return this.#first.map((request) => ({ request, atMs: must(this.requests[request], "request").atMs }));
  }

  /** Of an open loop: what comes behind the one that has just come. */
  afterArrival(): readonly { readonly request: number; readonly atMs: number }[] {
    return this.#closed ? [] : this.#takeNext();
  }

  /** Of a closed loop: what the client sends next, now that `request` has ended. */
  afterEnd(request: number, nowMs: number): { readonly request: number; readonly atMs: number } | null {
    const behind = this.#behind[request] ?? -1;
    return behind < 0 ? null : { request: behind, atMs: nowMs + must(this.requests[behind], "request").atMs };
  }

  #takeNext(): readonly { readonly request: number; readonly atMs: number }[] {
    const request = this.#next++;
    const next = this.requests[request];
    return next === undefined ? [] : [{ request, atMs: next.atMs }];
  }

  #link(): void {
    const last = new Map<string, number>();
    for (const [index, { client }] of this.requests.entries()) {
      const before = last.get(client);
      if (before === undefined) this.#first.push(index);
      else this.#behind[before] = index;
      last.set(client, index);
    }
  }

  #checkOrder(): void {
    for (let i = 1; i < this.requests.length; i++) {
      if (must(this.requests[i], "request").atMs >= must(this.requests[i - 1], "request").atMs) continue;
      throw new NoodleError("SIMULATION_INVALID", `request ${i} of the workload comes before request ${i - 1}`);
    }
  }
}

const MOST_TOKENS = 2 ** 30;

function checkRequest({ atMs, promptTokens, genTokens }: SimRequest, index: number): void {
  if (!(atMs >= 0 && Number.isFinite(atMs)))
    throw new NoodleError("SIMULATION_INVALID", `request ${index} of the workload comes at ${atMs} ms`);
  for (const [name, tokens] of [
    ["prompt", promptTokens],
    ["generated", genTokens],
  ] as const) {
    if (Number.isInteger(tokens) && tokens >= 1 && tokens <= MOST_TOKENS) continue;
    const words = `request ${index} of the workload has ${tokens} ${name} tokens: a whole number from 1 to ${MOST_TOKENS}`;
    throw new NoodleError("SIMULATION_INVALID", words);
  }
}
