import { must, NoodleError } from "../../common/index.ts";
import { describeError } from "../error-answer.ts";
import type { SseStream } from "../sse-stream.ts";
import { EventLog } from "./event-log.ts";

/**
 * The events of one generation, and who reads them: one reader, several, or nobody for a while. Each gets every event in
 * order, those that came before it among them, and holds the generation back while it is slow.
 */
export class LiveStream {
  /** Those that have all that came, and what of each choice they had before: a log that fills again tells it once more. */
  readonly #readers = new Map<SseStream, readonly number[]>();
  readonly #generationId: string;
  readonly #limitBytes: number;
  readonly #begun: Promise<void>;
  readonly #over: Promise<void>;
  #tellBegun: () => void = () => undefined;
  #tellOver: () => void = () => undefined;
  #isOver = false;
  /** It failed before its first event. */
  #refusal: NoodleError | null = null;
  #log: EventLog | null = null;

  /** @param limitBytes of events that are kept */
  constructor(generationId: string, limitBytes: number) {
    this.#generationId = generationId;
    this.#limitBytes = limitBytes;
    this.#begun = new Promise((resolve) => {
      this.#tellBegun = resolve;
    });
    this.#over = new Promise((resolve) => {
      this.#tellOver = resolve;
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** What came, as far as it is kept; null before it has begun. */
  get log(): EventLog | null {
    return this.#log;
  }

  /** From now on it is answered with a stream, whatever becomes of it. To be called before `send`; twice is safe. */
  begin(choices: number): void {
    if (this.#log !== null || this.#isOver) return;
    this.#log = new EventLog(this.#generationId, choices, this.#limitBytes);
    this.#tellBegun();
  }

  /** @returns when every reader has room for another, or is gone */
  async send(choice: number, data: object | "[DONE]"): Promise<void> {
    const { text, nth } = must(this.#log, "events").push(
      choice,
      typeof data === "string" ? data : JSON.stringify(data),
    );
    const lacking = [...this.#readers].filter(([, got]) => nth > (got[choice] ?? 0));
    if (lacking.length > 0) await Promise.all(lacking.map(([reader]) => reader.write(text)));
  }

  /** An event of a stream that has ended long ago. */
  replay(choice: number, data: string): void {
    must(this.#log, "events").push(choice, data);
  }

  /** It is over; what fails behind the first event is told in an event. */
  end(error?: NoodleError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (error !== undefined && this.#log === null) this.#refusal = error;
    else if (error !== undefined) {
      // Also to who is ahead of a log that did not fill again.
      for (const data of [JSON.stringify(describeError(error).body), "[DONE]"]) {
        const { text } = must(this.#log, "events").push(0, data);
        for (const reader of this.#readers.keys()) void reader.write(text);
      }
    }
    this.#tellBegun();
    this.#tellOver();
  }

  /**
   * Passes on what the reader has not got, and what comes, until the generation or the reader is at its end.
   *
   * @param counts events of each choice that it has; null = none
   * @throws GENERATION_GONE for a reader that lacks what is not kept any more; what it failed with before its first event
   */
  async pass(stream: SseStream, counts: readonly number[] | null): Promise<void> {
    await Promise.race([this.#begun, stream.closed]);
    if (this.#refusal !== null) throw this.#refusal;
    const log = this.#log;
    if (log === null) return;
    const got = counts ?? Array.from({ length: log.choices }, () => 0);
    if (!log.holds(got)) throw eventsGone();
    stream.open();
    let next = log.first;
    for (let event = log.at(next); event !== undefined && !stream.isClosed; event = log.at(next)) {
      next += 1;
      if (event.nth > (got[event.choice] ?? 0)) await stream.write(event.text);
      if (next < log.first) throw eventsGone();
    }
    if (!this.#isOver && !stream.isClosed) {
      // Nothing has come since the last look: there is no waiting in between.
      this.#readers.set(stream, got);
      await Promise.race([this.#over, stream.closed]);
      this.#readers.delete(stream);
    }
  }
}

function eventsGone(): NoodleError {
  return new NoodleError("GENERATION_GONE", "the events behind Last-Event-ID are not kept any more");
}
