/** The last lines of a stream of text, to name the cause of a process's death. */
export class LineRing {
  readonly #capacity: number;
  readonly #lines: string[] = [];
  #partial = "";

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  push(text: string): void {
    const lines = (this.#partial + text).split("\n");
    // A line without an end may not grow without bound either.
    this.#partial = (lines.pop() ?? "").slice(-4096);
    this.#lines.push(...lines.slice(-this.#capacity));
    this.#lines.splice(0, this.#lines.length - this.#capacity);
  }

  /** The last `count` lines that are not blank, oldest first. */
  tail(count: number): readonly string[] {
    return [...this.#lines, this.#partial].filter((line) => line.trim() !== "").slice(-count);
  }
}
