/** Why a session stands still: its stages are gone, or it moves to others. */
export type StallKind = "recovery" | "move";

/** A standstill of a session, from its last step on its former stages to its next token. Monotonic times. */
export class SessionStall {
  readonly kind: StallKind;
  readonly startMs: number;
  /** Positions that its new stages compute again. */
  readonly tokens: number;
  #refilledMs: number | null = null;

  constructor(kind: StallKind, startMs: number, tokens: number) {
    this.kind = kind;
    this.startMs = startMs;
    this.tokens = tokens;
  }

  /** When its new stages had all that the former ones held; null before. */
  get refilledMs(): number | null {
    return this.#refilledMs;
  }

  /** Its stages have computed the positions up to here. */
  answer(answeredRows: number, nowMs: number): void {
    if (answeredRows >= this.tokens) this.#refilledMs ??= nowMs;
  }
}
