/** Finds the first stop text in a text that comes in pieces, and lets through what can not be part of one. */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";
  #found: string | null = null;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** The stop text that was found; null while none was. */
  get found(): string | null {
    return this.#found;
  }

  /** @returns text that is known to stand before any stop text */
  push(piece: string): string {
    if (this.#found !== null) return "";
    if (this.#stops.length === 0) return piece;
    const text = this.#held + piece;
    let at = -1;
    for (const stop of this.#stops) {
      const index = text.indexOf(stop);
      // Of two at one place the longer one counts: it is the one that was written.
      if (index < 0 || (at >= 0 && (index > at || (index === at && stop.length <= (this.#found ?? "").length))))
        continue;
      at = index;
      this.#found = stop;
    }
    if (at >= 0) {
      this.#held = "";
      return text.slice(0, at);
    }
    const heldLength = this.#countHeld(text);
    this.#held = text.slice(text.length - heldLength);
    return text.slice(0, text.length - heldLength);
  }

  /** What was held back, when nothing more comes. */
  flush(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }

  /** Length of the longest end of `text` that a stop text begins with. */
  #countHeld(text: string): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
