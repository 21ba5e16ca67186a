import type { NoodleError } from "../common/index.ts";
import type { BidiStream } from "./stream.ts";

/** Turns a stream's callbacks into a loop that reads one message at a time; the stream is paused between. */
export async function* iterateMessages<In>(stream: BidiStream<never, In>): AsyncGenerator<In, void, undefined> {
  const inbox = new Inbox<In>(stream);
  stream.listen(inbox);
  try {
    for (;;) {
      const message = inbox.take();
      if (message !== undefined) yield message;
      else if (inbox.failure !== null) throw inbox.failure;
      else if (inbox.ended) return;
      else await inbox.change();
    }
  } finally {
    if (!inbox.ended) stream.cancel();
  }
}

class Inbox<In> {
  readonly #stream: BidiStream<never, In>;
  /** More than one only where the library had already read ahead when the stream was paused. */
  readonly #queue: In[] = [];
  #wake: (() => void) | null = null;
  ended = false;
  failure: NoodleError | null = null;

  constructor(stream: BidiStream<never, In>) {
    this.#stream = stream;
  }

  take(): In | undefined {
    return this.#queue.shift();
  }

  change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#stream.resume();
    });
  }

  onMessage(message: In): void {
    this.#queue.push(message);
    this.#stream.pause();
    this.#notify();
  }

  onEnd(): void {
    this.ended = true;
    this.#notify();
  }

  onError(error: NoodleError): void {
    this.failure = error;
    this.#notify();
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
