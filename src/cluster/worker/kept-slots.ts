interface KeptSlot {
  /** Session that computed what the slot keeps. */
  readonly sessionId: string;
  readonly slot: number;
  readonly tokens: number;
}

/** What closed slots of one stage still hold. */
export class KeptSlots {
  readonly #bySlot = new Map<number, KeptSlot>();

  keep(kept: KeptSlot): void {
    this.#bySlot.set(kept.slot, kept);
  }

  findSession(sessionId: string): KeptSlot | undefined {
    for (const kept of this.#bySlot.values()) if (kept.sessionId === sessionId) return kept;
    return undefined;
  }

  /** Another sequence takes the slot, or its cells were freed. */
  forget(slot: number): void {
    this.#bySlot.delete(slot);
  }

  removeAll(): readonly KeptSlot[] {
    const all = [...this.#bySlot.values()];
    this.#bySlot.clear();
    return all;
  }
}
