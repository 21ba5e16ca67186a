import { NoodleError } from "../../common/index.ts";

/** What a client calls a request, and what that request is. */
export interface ReplyKey {
  readonly client: string;
  readonly key: string;
  /** Of the request, in hex. */
  readonly bodySha256: string;
}

export type ClaimedReply =
  /** The key is new: the caller makes the reply. */
  | { readonly state: "claimed" }
  /** The same request runs just now. */
  | { readonly state: "running" }
  | { readonly state: "kept"; readonly reply: string };

/** Replies to requests that their clients have named, kept for a day. */
export interface ReplyBook {
  /** @throws IDEMPOTENCY_MISMATCH where the key stands for another request */
  claim(key: ReplyKey): Promise<ClaimedReply>;
  /** @param reply null: there is none, and the key is free again */
  keep(key: ReplyKey, reply: string | null): Promise<void>;
}

interface Entry {
  readonly bodySha256: string;
  readonly expiresMs: number;
  reply: string | null;
}

const KEEP_MS = 24 * 3_600_000;
const MAX_REPLIES = 1024;
const MAX_CHARS = 32 * 1024 * 1024;

/** In memory, for as long as the process runs; the oldest go first where they are too many. */
export class MemoryReplyBook implements ReplyBook {
  readonly #nowMs: () => number;
  readonly #entries = new Map<string, Entry>();
  #chars = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  async claim(key: ReplyKey): Promise<ClaimedReply> {
    const name = nameOf(key);
    const entry = this.#entries.get(name);
    if (entry !== undefined && entry.expiresMs > this.#nowMs()) {
      if (entry.bodySha256 !== key.bodySha256) throw mismatch();
      return entry.reply === null ? { state: "running" } : { state: "kept", reply: entry.reply };
    }
    this.#delete(name);
    this.#entries.set(name, { bodySha256: key.bodySha256, expiresMs: this.#nowMs() + KEEP_MS, reply: null });
    this.#prune();
    return { state: "claimed" };
  }

  async keep(key: ReplyKey, reply: string | null): Promise<void> {
    const name = nameOf(key);
    const entry = this.#entries.get(name);
    if (entry === undefined || entry.reply !== null || entry.bodySha256 !== key.bodySha256) return;
    if (reply === null) {
      this.#delete(name);
      return;
    }
    entry.reply = reply;
    this.#chars += reply.length;
    this.#prune();
  }

  #prune(): void {
    for (const name of this.#entries.keys()) {
      if (this.#entries.size <= MAX_REPLIES && this.#chars <= MAX_CHARS) return;
      this.#delete(name);
    }
  }

  #delete(name: string): void {
    this.#chars -= this.#entries.get(name)?.reply?.length ?? 0;
    this.#entries.delete(name);
  }
}

export function mismatch(): NoodleError {
  return new NoodleError("IDEMPOTENCY_MISMATCH", "this Idempotency-Key was used with another request");
}

/** Clients are hashes or empty: they hold no space. */
export function nameOf({ client, key }: Pick<ReplyKey, "client" | "key">): string {
  return `${client} ${key}`;
}
