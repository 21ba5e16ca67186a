import {
  chooseSlot,
  type ClassNotes,
  countCommon,
  cutNotes,
  type KeptPrefix,
  PrefixCache,
} from "../../schedule/index.ts";
import type { Session } from "./session.ts";

/** What a session starts with. */
export interface PrefixSource {
  readonly sessionId: string;
  readonly slot: number;
  readonly tokens: number;
  readonly notes: ClassNotes;
}

/** A prompt that looks for a place. */
export interface PromptFacts {
  readonly client: string;
  readonly tokens: readonly number[];
  /** It may start with what is there already. */
  readonly cachePrompt: boolean;
}

export interface SlotBookOptions {
  readonly slots: number;
  /** Beyond it the least recently used prefixes are forgotten. */
  readonly limitBytes: number;
  /** How many of the first positions may be reused for such a prompt. */
  readonly countReuse: (notes: ClassNotes, tokens: number, promptRows: number) => number;
}

/** What of prefixes was used since the start. */
export interface PrefixCounts {
  readonly hits: number;
  readonly misses: number;
  readonly reusedTokens: number;
  /** Those that a stage did not have any more. */
  readonly gone: number;
}

/** A shorter beginning is read sooner than it is copied. */
const LEAST_TOKENS = 8;

/** Which session has which slot, and what the others still hold. */
export class SlotBook {
  readonly #options: SlotBookOptions;
  readonly #cache: PrefixCache;
  readonly #occupied = new Map<number, Session | null>();
  #align = 1;
  /** Of the plan that new sessions run on. */
  #epoch: number | null = null;
  #hits = 0;
  #misses = 0;
  #reusedTokens = 0;
  #gone = 0;

  constructor(options: SlotBookOptions) {
    this.#options = options;
    this.#cache = new PrefixCache(options.limitBytes);
  }

  get occupied(): number {
    return this.#occupied.size;
  }

  get hasFree(): boolean {
    return this.#occupied.size < this.#options.slots;
  }

  /** Positions and bytes that idle slots hold. */
  get kept(): { readonly slots: number; readonly tokens: number; readonly bytes: number } {
    const { size, tokens, bytes } = this.#cache;
    return { slots: size, tokens, bytes };
  }

  get counts(): PrefixCounts {
    return { hits: this.#hits, misses: this.#misses, reusedTokens: this.#reusedTokens, gone: this.#gone };
  }

  /** Slots of a block that is computed together; 1 where there are none. */
  set align(align: number) {
    this.#align = align;
  }

  /** Takes a slot for a prompt. What the slot held is forgotten, unless it is what the prompt begins with. */
  take(prompt: PromptFacts): { readonly slot: number; readonly source: PrefixSource | null } | null {
    const free = this.#listFree();
    if (free.length === 0) return null;
    const source = this.findSource(prompt);
    const slot = this.#choose(free, source);
    this.#cache.take(slot);
    this.#occupied.set(slot, null);
    return { slot, source };
  }

  /** The slot's session is known now. */
  settle(session: Session): void {
    this.#occupied.set(session.slot, session);
  }

  /** @param kept what the slot still holds; null = nothing */
  release(slot: number, kept: KeptPrefix | null): void {
    this.#occupied.delete(slot);
    if (kept !== null && kept.tokens.length >= LEAST_TOKENS) this.#cache.put(kept);
  }

  /** New sessions run on the stages of this plan, which hold nothing yet. */
  follow(epoch: number | null): void {
    this.#epoch = epoch;
    this.#cache.clear();
  }

  /** The longest beginning that is there, in an idle slot or a running session's; null when it is not worth it. */
  findSource(prompt: PromptFacts): PrefixSource | null {
    if (!prompt.cachePrompt) return null;
    const { tokens, client } = prompt;
    const found = this.#cache.find(client, tokens);
    let best = found === null ? null : this.#measure(found.kept, found.tokens, tokens.length);
    for (const session of this.#occupied.values()) {
      if (session === null || session.client !== client || session.failure !== undefined) continue;
      if (this.#isElsewhere(session)) continue;
      const common = Math.min(countCommon(session.tokens, tokens), session.answeredRows);
      if (common <= (best?.tokens ?? LEAST_TOKENS - 1)) continue;
      const source = { sessionId: session.id, slot: session.slot, notes: session.notes };
      const measured = this.#measure(source, common, tokens.length);
      if (measured !== null && measured.tokens > (best?.tokens ?? 0)) best = measured;
    }
    if (best !== null) this.#cache.touch(best.slot);
    return best;
  }

  /** A running session that is about to compute most of what this prompt begins with; null where there is none. */
  findLeader(prompt: PromptFacts, source: PrefixSource | null, follower: Session): Session | null {
    if (!prompt.cachePrompt) return null;
    const { tokens, client } = prompt;
    for (const session of this.#occupied.values()) {
      if (session === null || session === follower || session.client !== client || session.isOver) continue;
      if (session.answeredRows >= session.promptTokens || this.#isElsewhere(session)) continue;
      const common = Math.min(countCommon(session.tokens, tokens), tokens.length - 1);
      const gain = common - (source?.tokens ?? 0);
      if (gain >= LEAST_TOKENS && gain * 2 >= tokens.length) return session;
    }
    return null;
  }

  /** Counts what became of a prompt's search. */
  count(source: PrefixSource | null): void {
    if (source === null) this.#misses += 1;
    else this.#hits += 1;
    this.#reusedTokens += source?.tokens ?? 0;
  }

  /** A stage does not have it any more. */
  countGone(): void {
    this.#gone += 1;
  }

  /** On the stages of a plan that new sessions do not run on. */
  #isElsewhere({ epoch }: Session): boolean {
    return this.#epoch !== null && epoch !== this.#epoch;
  }

  #measure(
    from: { readonly sessionId: string; readonly slot: number; readonly notes: ClassNotes },
    common: number,
    promptRows: number,
  ): PrefixSource | null {
    // The last row is always computed: its logits choose the first token.
    const tokens = this.#options.countReuse(from.notes, Math.min(common, promptRows - 1), promptRows);
    if (tokens < LEAST_TOKENS) return null;
    return { sessionId: from.sessionId, slot: from.slot, tokens, notes: cutNotes(from.notes, tokens) };
  }

  #listFree(): readonly number[] {
    return Array.from({ length: this.#options.slots }, (_, slot) => slot).filter((slot) => !this.#occupied.has(slot));
  }

  #choose(free: readonly number[], source: PrefixSource | null): number {
    const kept = this.#cache.slots;
    const empty = free.filter((slot) => !kept.includes(slot));
    const own = source !== null && kept.includes(source.slot) ? source : null;
    // Most of it goes on in place; a small part of it is copied, so that the rest is there for others.
    if (own !== null && own.tokens * 2 >= this.#cache.tokensOf(own.slot)) return own.slot;
    const [oldest] = kept;
    return chooseSlot(empty, this.#occupied, this.#align) ?? oldest ?? 0;
  }
}
