import type { Session } from "./session.ts";

/** Requests that have no slot yet, first come, first served. */
export class WaitingLine {
  peak = 0;
  /** Integral of the length over time. */
  requestMs = 0;
  #line: Session[] = [];
  #first = 0;
  #sinceMs = 0;

  get length(): number {
    return this.#line.length - this.#first;
  }

  get first(): Session | undefined {
    return this.#line[this.#first];
  }

  push(session: Session, nowMs: number): void {
    this.#count(nowMs);
    this.#line.push(session);
    this.peak = Math.max(this.peak, this.length);
  }

  shift(nowMs: number): void {
    this.#count(nowMs);
    this.#first += 1;
    if (this.#first * 2 < this.#line.length) return;
    this.#line = this.#line.slice(this.#first);
    this.#first = 0;
  }

  /** Puts those who have waited before in front of all others, in their order. */
  putBack(sessions: readonly Session[], nowMs: number): void {
    this.#count(nowMs);
    this.#line = [...sessions, ...this.#line.slice(this.#first)];
    this.#first = 0;
    this.peak = Math.max(this.peak, this.length);
  }

  #count(nowMs: number): void {
    this.requestMs += this.length * (nowMs - this.#sinceMs);
    this.#sinceMs = nowMs;
  }
}
