import { NoodleError } from "../../common/index.ts";
import type { ApiLimits } from "../limits.ts";
import type { LiveGeneration } from "./live-generation.ts";
import { mismatch, nameOf } from "./reply-book.ts";

export type LiveLimits = Pick<ApiLimits, "resumeMs" | "resumeBufferBytes" | "resumeTotalBytes">;

interface Ended {
  readonly generation: LiveGeneration;
  readonly expiresMs: number;
  readonly bytes: number;
}

/**
 * The generations that can be asked for again: those that run, and for a while those that are over. They are found by id
 * or by what the client called them, by the client alone whose they are, and never listed.
 */
export class LiveGenerations {
  readonly #limits: LiveLimits;
  readonly #byId = new Map<string, LiveGeneration>();
  readonly #byKey = new Map<string, LiveGeneration>();
  /** Oldest first. */
  readonly #ended = new Set<Ended>();
  #endedBytes = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(limits: LiveLimits) {
    this.#limits = limits;
  }

  /** Of those that nobody waits for and that run all the same. */
  get runningAlone(): number {
    return [...this.#byId.values()].filter(({ state, isAlone }) => state === "running" && isAlone).length;
  }

  add(generation: LiveGeneration): void {
    const { id, client, key } = generation.identity;
    this.#byId.set(id, generation);
    if (key !== null) this.#byKey.set(nameOf({ client, key }), generation);
  }

  /** @throws GENERATION_GONE for an id that is not known, or is another client's */
  find(id: string, client: string): LiveGeneration {
    const found = this.#byId.get(id);
    if (found !== undefined && found.identity.client === client) return found;
    throw new NoodleError("GENERATION_GONE", "nothing is known of this generation (any more)");
  }

  /** What the client has called so. @throws IDEMPOTENCY_MISMATCH where that is another request */
  findNamed(client: string, key: string, bodySha256: string): LiveGeneration | null {
    const found = this.#byKey.get(nameOf({ client, key }));
    if (found === undefined) return null;
    if (found.identity.bodySha256 !== bodySha256) throw mismatch();
    return found;
  }

  /** It is over: it stays for a while, unless nobody could ask for it. */
  retire(generation: LiveGeneration): void {
    const log = generation.stream?.log ?? null;
    // Another try with the name of what has failed is another generation.
    if (generation.state !== "completed") this.#forgetName(generation);
    if (log === null || generation.state === "cancelled") {
      this.#forget(generation);
      return;
    }
    const ended = { generation, expiresMs: performance.now() + this.#limits.resumeMs, bytes: log.bytes };
    this.#ended.add(ended);
    this.#endedBytes += ended.bytes;
    this.#prune();
  }

  /** Ends all that run. */
  close(): void {
    for (const generation of this.#byId.values()) generation.cancel();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #prune(): void {
    const nowMs = performance.now();
    let next: Ended | undefined;
    for (const ended of this.#ended) {
      next = ended;
      if (ended.expiresMs > nowMs && this.#endedBytes <= this.#limits.resumeTotalBytes) break;
      next = undefined;
      this.#ended.delete(ended);
      this.#endedBytes -= ended.bytes;
      this.#forget(ended.generation);
    }
    if (this.#timer !== null || next === undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#prune();
    }, next.expiresMs - nowMs);
    this.#timer.unref();
  }

  #forget(generation: LiveGeneration): void {
    const { id } = generation.identity;
    if (this.#byId.get(id) === generation) this.#byId.delete(id);
    this.#forgetName(generation);
  }

  #forgetName(generation: LiveGeneration): void {
    const { client, key } = generation.identity;
    const name = key === null ? null : nameOf({ client, key });
    if (name !== null && this.#byKey.get(name) === generation) this.#byKey.delete(name);
  }
}
