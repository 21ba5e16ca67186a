/** Source of time for a coordinator: monotonic, from an arbitrary origin. */
export interface Clock {
  nowMs(): number;
}

export const MONOTONIC_CLOCK: Clock = { nowMs: () => performance.now() };

/** The clock of everything that is told to observers, in ns: whole numbers, exact for the first 104 days of a machine. */
export function monotonicNs(): number {
  return Number(process.hrtime.bigint());
}
