import { NoodleError } from "../../common/index.ts";
import {
  type ArrangedStep,
  type CallPlace,
  type ClassNotes,
  ClassNotesBuilder,
  type ComputedRun,
  type ReplayStep,
  type ScheduledRun,
} from "../../schedule/index.ts";

/** How far a session was on stages that it may go back to. */
export interface RowsMark {
  readonly steps: readonly ReplayStep[];
  readonly taken: number;
  readonly sent: number;
  readonly answered: number;
}

/**
 * A session's positions on its stages: how far they were sent, how far every stage has computed them, and how. What the
 * stages hold can be lost; what is known of it here stays, and is what they can be filled from again.
 */
export class SessionRows {
  /** Rows of each step in order, as they were sent first. */
  readonly stepRows: number[] = [];
  #notes = new ClassNotesBuilder();
  /** Positions that were computed before, as far as these are notes of. */
  #noted = 0;
  /** Calls that were noted and not told yet. */
  #fresh: ComputedRun[] = [];
  /** What was asked for of all steps; those behind the notes still are. */
  #asked: readonly ReplayStep[] = [];
  #steps: readonly ReplayStep[] = [];
  #taken = 0;
  #sent = 0;
  #answered = 0;
  #mostAnswered = 0;
  #cached = 0;

  get sent(): number {
    return this.#sent;
  }

  /** Positions that every stage has computed. */
  get answered(): number {
    return this.#answered;
  }

  /** Positions that all stages together ever had computed. */
  get mostAnswered(): number {
    return this.#mostAnswered;
  }

  /** Positions that were there before the first step. */
  get cached(): number {
    return this.#cached;
  }

  get notes(): ClassNotes {
    return this.#notes.build();
  }

  /** Positions that have notes; while a session is filled again it has sent fewer. */
  get noted(): number {
    return this.#noted;
  }

  /** Its next step, where it was told which to take. */
  get arranged(): ArrangedStep | null {
    const next = this.#steps[this.#taken];
    return next === undefined || next.position !== this.#sent ? null : next;
  }

  get mark(): RowsMark {
    return { steps: this.#steps, taken: this.#taken, sent: this.#sent, answered: this.#answered };
  }

  /** The first positions are there already. Before the first step only. */
  startWith(cached: number, notes: ClassNotes): void {
    this.#cached = cached;
    this.#sent = cached;
    this.#answered = cached;
    this.resumeFrom(notes);
    this.#noted = cached;
  }

  /** These positions were computed before, on stages that are gone. Before the first step only. */
  resumeFrom(notes: ClassNotes): void {
    const last = notes.at(-1);
    this.#noted = last === undefined ? 0 : last.position + last.rows;
    this.#notes = new ClassNotesBuilder(notes);
    this.#fresh = [...notes];
  }

  /** The steps shall be these, as far as they go. Before the first step only. */
  arrange(steps: readonly ReplayStep[]): void {
    this.#asked = steps;
    this.#steps = steps;
  }

  /** The stages hold nothing (any more): all positions are sent again, the noted ones in these steps. */
  restart(steps: readonly ReplayStep[]): void {
    this.#steps = [...steps, ...this.#asked.filter(({ position }) => position >= this.#noted)];
    this.#taken = 0;
    this.#sent = 0;
    this.#answered = 0;
  }

  /** The stages hold what they held then. */
  goBack({ steps, taken, sent, answered }: RowsMark): void {
    this.#steps = steps;
    this.#taken = taken;
    this.#sent = sent;
    this.#answered = answered;
  }

  /** @throws ILLEGAL_STATE for a run that does not go on where the last one ended */
  send({ position, rows }: ScheduledRun, place: CallPlace): void {
    if (position !== this.#sent) {
      throw new NoodleError("ILLEGAL_STATE", `step at position ${position}, the session sent ${this.#sent}`);
    }
    if (this.arranged !== null) this.#taken += 1;
    this.#sent += rows;
    // What is computed again gets the class that it had: the notes of it stay.
    if (this.#sent <= this.#noted) return;
    this.#noted = this.#sent;
    this.stepRows.push(rows);
    this.#notes.add(position, rows, place);
    this.#fresh.push({ position, rows, ...place });
  }

  /** Every stage has computed the rows up to here. */
  answer(endPosition: number): void {
    this.#answered = Math.max(this.#answered, endPosition);
    this.#mostAnswered = Math.max(this.#mostAnswered, this.#answered);
  }

  /** How positions were computed that this has not told before. */
  takeFresh(): readonly ComputedRun[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }
}
