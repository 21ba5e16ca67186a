import { MAX_NUMBERED_CHOICES, writeEventId } from "./event-position.ts";

/** One event of a stream, as it is written. */
export interface LoggedEvent {
  readonly choice: number;
  /** Events of its choice up to here, this one included. */
  readonly nth: number;
  readonly data: string;
  /** With its id, as server-sent events are written. */
  readonly text: string;
}

/** The last events of one generation, up to a number of bytes: who lost its connection goes on behind the last one it got. */
export class EventLog {
  readonly #id: string;
  readonly #limitBytes: number;
  /** Of each choice, all that ever came. */
  readonly #counts: number[];
  /** Of each choice, those that are gone. */
  readonly #gone: number[];
  readonly #events = new Map<number, LoggedEvent>();
  #first = 0;
  #end = 0;
  #bytes = 0;

  constructor(generationId: string, choices: number, limitBytes: number) {
    this.#id = generationId;
    this.#limitBytes = limitBytes;
    this.#counts = Array.from({ length: choices }, () => 0);
    this.#gone = Array.from({ length: choices }, () => 0);
  }

  /** Number of the first event that is there. */
  get first(): number {
    return this.#first;
  }

  /** UTF-16 units of what is kept, and so at least half its bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  get choices(): number {
    return this.#counts.length;
  }

  /** Every event is still there. */
  get isWhole(): boolean {
    return this.#first === 0;
  }

  get events(): readonly LoggedEvent[] {
    return [...this.#events.values()];
  }

  push(choice: number, data: string): LoggedEvent {
    const nth = (this.#counts[choice] ?? 0) + 1;
    this.#counts[choice] = nth;
    const event = { choice, nth, data, text: `${this.#writeId()}data: ${data}\n\n` };
    this.#events.set(this.#end, event);
    this.#end += 1;
    this.#bytes += event.text.length;
    while (this.#bytes > this.#limitBytes && this.#first < this.#end - 1) this.#forgetFirst();
    return event;
  }

  /** undefined for one that has not come, or is gone. */
  at(number: number): LoggedEvent | undefined {
    return this.#events.get(number);
  }

  /** A reader that has so many events of each choice lacks none that is gone. It may be ahead of a log that fills again. */
  holds(counts: readonly number[]): boolean {
    return counts.length === this.#counts.length && counts.every((got, choice) => got >= (this.#gone[choice] ?? 0));
  }

  /** Such a reader has everything that came. */
  isRead(counts: readonly number[]): boolean {
    return this.#counts.every((count, choice) => count <= (counts[choice] ?? 0));
  }

  #writeId(): string {
    if (this.#counts.length > MAX_NUMBERED_CHOICES) return "";
    return `id: ${writeEventId({ generationId: this.#id, counts: this.#counts })}\n`;
  }

  #forgetFirst(): void {
    const event = this.#events.get(this.#first);
    this.#events.delete(this.#first);
    this.#first += 1;
    if (event === undefined) return;
    this.#bytes -= event.text.length;
    this.#gone[event.choice] = event.nth;
  }
}
