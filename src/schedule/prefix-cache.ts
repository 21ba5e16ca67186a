import type { ClassNotes } from "./types.ts";

/** What a slot that nobody uses still holds. */
export interface KeptPrefix {
  readonly slot: number;
  /** Session that computed it. */
  readonly sessionId: string;
  readonly client: string;
  /** Of the positions whose keys and values are there. */
  readonly tokens: readonly number[];
  readonly notes: ClassNotes;
  /** Keys and values of all stages. */
  readonly bytes: number;
}

/** What begins like a prompt. */
export interface FoundPrefix {
  readonly kept: KeptPrefix;
  /** Length of the common beginning. */
  readonly tokens: number;
}

/**
 * Which slots hold what of former sessions, least recently used first. Only a memory of what the stages hold: whoever
 * uses it must be ready to hear that it is gone.
 */
export class PrefixCache {
  readonly #limitBytes: number;
  readonly #bySlot = new Map<number, KeptPrefix>();
  #bytes = 0;
  #tokens = 0;

  /** @param limitBytes what is used least is forgotten beyond it */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get size(): number {
    return this.#bySlot.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get tokens(): number {
    return this.#tokens;
  }

  /** Slots that hold something, least recently used first. */
  get slots(): readonly number[] {
    return [...this.#bySlot.keys()];
  }

  /** Length of what a slot holds; 0 where it is nothing. */
  tokensOf(slot: number): number {
    return this.#bySlot.get(slot)?.tokens.length ?? 0;
  }

  /** Notes what a slot holds. @returns what was forgotten for it; itself where it alone is beyond the limit */
  put(kept: KeptPrefix): readonly KeptPrefix[] {
    this.take(kept.slot);
    this.#bySlot.set(kept.slot, kept);
    this.#bytes += kept.bytes;
    this.#tokens += kept.tokens.length;
    const forgotten: KeptPrefix[] = [];
    for (const oldest of this.#bySlot.values()) {
      if (this.#bytes <= this.#limitBytes) break;
      forgotten.push(oldest);
      this.take(oldest.slot);
    }
    return forgotten;
  }

  /** Forgets what a slot holds. @returns null where it held nothing */
  take(slot: number): KeptPrefix | null {
    const kept = this.#bySlot.get(slot);
    if (kept === undefined) return null;
    this.#bySlot.delete(slot);
    this.#bytes -= kept.bytes;
    this.#tokens -= kept.tokens.length;
    return kept;
  }

  /** It was used: it is forgotten last. */
  touch(slot: number): void {
    const kept = this.#bySlot.get(slot);
    if (kept === undefined) return;
    this.#bySlot.delete(slot);
    this.#bySlot.set(slot, kept);
  }

  /** The longest common beginning with anything of this client; null where there is none. */
  find(client: string, tokens: readonly number[]): FoundPrefix | null {
    let best: FoundPrefix | null = null;
    for (const kept of this.#bySlot.values()) {
      if (kept.client !== client) continue;
      const common = countCommon(kept.tokens, tokens);
      if (common > (best?.tokens ?? 0)) best = { kept, tokens: common };
    }
    return best;
  }

  clear(): void {
    this.#bySlot.clear();
    this.#bytes = 0;
    this.#tokens = 0;
  }
}

/** Length of the common beginning. */
export function countCommon(a: readonly number[], b: readonly number[], from = 0): number {
  const most = Math.min(a.length, b.length);
  let common = from;
  while (common < most && a[common] === b[common]) common += 1;
  return common;
}
