import type { Sink } from "./host.ts";

const REDRAW_MS = 100;

/**
 * Says what goes on. On a terminal one line is rewritten in place; elsewhere each phase is a line of its own and
 * updates inside a phase are silent, so logs stay short.
 */
export class Progress {
  readonly #sink: Sink;
  readonly #nowMs: () => number;
  readonly #startMs: number;
  #label = "";
  #drawn = false;
  #lastDrawMs = Number.NEGATIVE_INFINITY;

  constructor(sink: Sink, nowMs: () => number) {
    this.#sink = sink;
    this.#nowMs = nowMs;
    this.#startMs = nowMs();
  }

  /** Begins a phase; the line stays readable when the next one begins. */
  phase(label: string): void {
    this.clear();
    this.#label = label;
    this.#sink.write(`${this.#stamp()} ${label}\n`);
  }

  /** @param fraction 0 to 1. */
  update(fraction: number, detail = ""): void {
    if (!this.#sink.isTty) return;
    const now = this.#nowMs();
    if (now - this.#lastDrawMs < REDRAW_MS && fraction < 1) return;
    this.#lastDrawMs = now;
    const percent = Math.floor(Math.min(1, Math.max(0, fraction)) * 100);
    this.#sink.write(`\r\u001b[K${this.#stamp()} ${this.#label}: ${percent}%${detail === "" ? "" : ` ${detail}`}`);
    this.#drawn = true;
  }

  /** Removes a line that is being rewritten, so that other text can follow. */
  clear(): void {
    if (!this.#drawn) return;
    this.#sink.write("\r\u001b[K");
    this.#drawn = false;
  }

  #stamp(): string {
    return `[${((this.#nowMs() - this.#startMs) / 1000).toFixed(1).padStart(5)}s]`;
  }
}
