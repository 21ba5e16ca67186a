const MEMORY_MS = 600_000;
/** With each change that a node or link has gone through lately, it has to last so many times as long. */
const PATIENCE = 3;
const MOST_MS = 600_000;

/** What has changed lately. Whoever goes up and down is not followed up and down. */
export class ChangeHistory {
  readonly #changes: { readonly subject: string; readonly atMs: number }[] = [];
  #lastMs = Number.NEGATIVE_INFINITY;

  add(subject: string, atMs: number): void {
    this.#changes.push({ subject, atMs });
    this.#lastMs = Math.max(this.#lastMs, atMs);
  }

  /** When something last became another. */
  get lastMs(): number {
    return this.#lastMs;
  }

  /** How long what is new has to have lasted. @param leastMs where nothing has changed twice */
  requiredMs(leastMs: number, nowMs: number): number {
    while ((this.#changes[0]?.atMs ?? nowMs) < nowMs - MEMORY_MS) this.#changes.shift();
    const counts = new Map<string, number>();
    for (const { subject } of this.#changes) counts.set(subject, (counts.get(subject) ?? 0) + 1);
    const most = Math.max(1, ...counts.values());
    return Math.max(leastMs, Math.min(MOST_MS, leastMs * PATIENCE ** (most - 1)));
  }
}
