import type { ReadableSpan, SpanExporter, SpanProcessor } from "@opentelemetry/sdk-trace-base";

export interface SpanQueueOptions {
  /** Spans that may wait; more are dropped. */
  readonly limit: number;
  /** Spans of one request to the collector. */
  readonly batch: number;
  /** Longest time until a span is sent. */
  readonly intervalMs: number;
}

/**
 * Finished spans on their way to the collector: a bounded queue and one request at a time. A collector that is gone or
 * slow costs memory up to the limit and nothing else; what it does not get is counted.
 */
export class SpanQueue implements SpanProcessor {
  readonly #exporter: SpanExporter;
  readonly #options: SpanQueueOptions;
  #waiting: ReadableSpan[] = [];
  #sending: Promise<void> | null = null;
  #inFlight = 0;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  #dropped = 0;
  #exported = 0;

  constructor(exporter: SpanExporter, options: SpanQueueOptions) {
    this.#exporter = exporter;
    this.#options = options;
  }

  /** Spans that did not reach the collector. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Spans that the collector took. */
  get exported(): number {
    return this.#exported;
  }

  /** Counts spans that were given up before they were made. */
  drop(count: number): void {
    this.#dropped += count;
  }

  onStart(): void {
    // Only whole spans are sent.
  }

  onEnd(span: ReadableSpan): void {
    const { limit, batch, intervalMs } = this.#options;
    if (this.#closed || this.#waiting.length >= limit) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(span);
    if (this.#waiting.length >= batch) {
      void this.#send();
    } else if (this.#timer === null) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        void this.#send();
      }, intervalMs);
      this.#timer.unref();
    }
  }

  /** Sends what waits, one batch after the other. */
  async forceFlush(): Promise<void> {
    while (!this.#closed && (this.#waiting.length > 0 || this.#sending !== null)) await this.#send();
  }

  /** Gives the collector until the deadline to take what waits; the rest is dropped and counted. */
  async close(timeoutMs: number): Promise<void> {
    if (this.#closed) return;
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.forceFlush(), deadline]);
    clearTimeout(timer);
    await this.shutdown();
  }

  shutdown(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#dropped += this.#waiting.length + this.#inFlight;
    this.#waiting = [];
    // It would wait for a request that hangs; nothing depends on its end.
    void this.#exporter.shutdown().catch(() => undefined);
    return Promise.resolve();
  }

  #send(): Promise<void> {
    if (this.#sending !== null) return this.#sending;
    const batch = this.#waiting.splice(0, this.#options.batch);
    if (batch.length === 0) return Promise.resolve();
    this.#inFlight = batch.length;
    this.#sending = this.#export(batch).then((taken) => {
      this.#sending = null;
      // After the end they were counted as dropped already.
      if (this.#closed) return;
      this.#inFlight = 0;
      if (taken) this.#exported += batch.length;
      else this.#dropped += batch.length;
      if (this.#waiting.length >= this.#options.batch) void this.#send();
    });
    return this.#sending;
  }

  #export(batch: ReadableSpan[]): Promise<boolean> {
    return new Promise((resolve) => {
      try {
        // 0 is success.
        this.#exporter.export(batch, ({ code }) => resolve(!code));
      } catch {
        resolve(false);
      }
    });
  }
}
