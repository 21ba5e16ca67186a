/** One time that a fault was made, and what came of it. */
export interface Trial {
  /** Where and when it struck. */
  readonly what: string;
  /** As the coordinator named it; null where it named none. */
  readonly cause: string | null;
  /** From the fault to the first word of it, to steps that can run again, to the last stream's next token. */
  readonly detectMs: number | null;
  readonly replanMs: number | null;
  readonly nextTokenMs: number | null;
  /** Streams whose tokens, and whose keys and values, are those of a run without the fault, of so many that ran. */
  readonly streams: number;
  readonly sameTokens: number;
  /** Null where nobody can ask for them: over HTTP. */
  readonly sameKv: number | null;
  /** Everything came as the row expects it. */
  readonly isGood: boolean;
  /** What else is to be said of it. */
  readonly note: string | null;
}

/** A row of the matrix. */
export interface FaultRow {
  readonly row: number;
  readonly fault: string;
  /** How it is made here. */
  readonly how: string;
  readonly expected: string;
  /** @throws where the row could not be done to its end: that is a failed one */
  readonly run: (lab: Lab) => Promise<readonly Trial[]>;
  /** Why this machine can't do it, or null. @default every machine can */
  readonly whyNot?: () => string | null;
}

/** What rows are run with. */
export interface Lab {
  /** Of the model that clusters serve. */
  readonly model: string;
  /** A number from 0 to below 1: seeded, so that a run can be repeated. */
  readonly random: () => number;
  readonly log: (line: string) => void;
}

/** A row that was run. */
export interface RowResult extends Pick<FaultRow, "row" | "fault" | "how" | "expected"> {
  readonly trials: readonly Trial[];
  /** Why this machine can't do it; null where it can. */
  readonly absent: string | null;
  /** Why it was not run to its end; null where it was. */
  readonly failure: string | null;
  readonly tookMs: number;
}
