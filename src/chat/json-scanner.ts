/** Finds where a JSON value that comes in pieces ends. It looks at brackets and strings only; the value may be broken. */
export class JsonScanner {
  #depth = 0;
  #inString = false;
  #escaped = false;
  #begun = false;

  /** @returns index behind the value's last character within this piece; undefined where it goes on */
  scan(piece: string): number | undefined {
    for (let at = 0; at < piece.length; at++) {
      const character = piece.charAt(at);
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (character === "\\") this.#escaped = true;
        else if (character === '"') this.#inString = false;
      } else if (character === '"') this.#inString = true;
      else if (character === "{" || character === "[") {
        this.#depth += 1;
        this.#begun = true;
      } else if (character === "}" || character === "]") this.#depth -= 1;
      if (this.#begun && this.#depth <= 0 && !this.#inString) return at + 1;
    }
    return undefined;
  }
}
