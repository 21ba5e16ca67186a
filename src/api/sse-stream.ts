import type { ServerResponse } from "node:http";
import type { ApiLimits } from "./limits.ts";

export interface SseOptions extends Pick<ApiLimits, "stallMs" | "readerBufferBytes" | "pingMs"> {
  /** Takes the response over: headers that go with it. Called once, before the first byte. */
  readonly takeOver: () => Readonly<Record<string, number | string | string[] | undefined>>;
}

/**
 * Server-sent events to one reader. Nothing is written before the first event, so that what fails until then is answered
 * with a status. What a slow reader has not taken yet is bounded: a full buffer makes `send` wait, and a reader that
 * takes nothing for `stallMs` is dropped, after which everything sent is thrown away.
 */
export class SseStream {
  readonly #response: ServerResponse;
  readonly #options: SseOptions;
  #isOpen = false;
  #isDropped = false;
  #isEnded = false;
  #pingTimer: NodeJS.Timeout | undefined;
  #stallTimer: NodeJS.Timeout | undefined;
  #waiting: (() => void)[] = [];
  #lastWriteMs = 0;
  readonly #closed: Promise<void>;
  #tellClosed: () => void = () => undefined;

  constructor(response: ServerResponse, options: SseOptions) {
    this.#response = response;
    this.#options = options;
    this.#closed = new Promise((resolve) => {
      this.#tellClosed = resolve;
    });
    response.on("drain", this.#onDrain);
    response.once("close", this.#onClose);
    // Waiting for a slot may take long: from the first ping on, the reader knows that it was heard.
    this.#pingTimer = setInterval(() => this.#ping(), options.pingMs);
  }

  /** Whether the head was written: from then on errors go into the stream. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The reader was too slow; its generation goes on. */
  get isDropped(): boolean {
    return this.#isDropped;
  }

  /** Writes the head. Opening twice is safe. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#response.writeHead(200, {
      ...this.#options.takeOver(),
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      connection: "keep-alive",
      "x-accel-buffering": "no",
    });
    this.#response.flushHeaders();
  }

  /** Resolves when nobody reads it any more, or it has ended. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  get isClosed(): boolean {
    return this.#isEnded;
  }

  /** @param text of whole events. @returns when there is room for more, or nobody reads any more */
  write(text: string): Promise<void> {
    return this.#write(text);
  }

  /** Ends the stream, and releases whoever waits. Ending twice is safe. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#tellClosed();
    clearInterval(this.#pingTimer);
    this.#pingTimer = undefined;
    if (this.#isOpen && !this.#response.destroyed) this.#response.end();
    else this.#release();
  }

  #write(text: string): Promise<void> {
    if (this.#isEnded || this.#response.destroyed) return Promise.resolve();
    this.open();
    this.#lastWriteMs = performance.now();
    if (this.#response.write(text)) return Promise.resolve();
    this.#watchStall();
    if (this.#response.writableLength < this.#options.readerBufferBytes) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #ping(): void {
    if (performance.now() - this.#lastWriteMs < this.#options.pingMs / 2) return;
    // A reader with unread bytes needs no sign of life.
    if (!this.#response.writableNeedDrain) void this.#write(": ping\n\n");
  }

  #watchStall(): void {
    if (this.#stallTimer !== undefined) return;
    this.#stallTimer = setTimeout(() => {
      this.#isDropped = true;
      this.#response.destroy();
    }, this.#options.stallMs);
  }

  readonly #onDrain = (): void => {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  };

  readonly #onClose = (): void => {
    this.#isEnded = true;
    this.#tellClosed();
    clearInterval(this.#pingTimer);
    this.#release();
  };

  #release(): void {
    this.#response.off("drain", this.#onDrain);
    this.#onDrain();
  }
}
