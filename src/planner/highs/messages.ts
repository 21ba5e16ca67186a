/** To the solver's thread. */
export interface HighsRequest {
  readonly id: number;
  readonly lpText: string;
  readonly timeLimitS: number;
  /** Stop at the first integer solution. */
  readonly firstOnly: boolean;
}

/** From the solver's thread. */
export interface HighsReply {
  readonly id: number;
  /** `found`: a solution that may not be the best. */
  readonly status: "optimal" | "found" | "infeasible" | "undecided";
  readonly values: readonly (readonly [string, number])[];
}
