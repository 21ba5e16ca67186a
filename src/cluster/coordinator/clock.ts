/** Source of time for a coordinator: monotonic, from an arbitrary origin. */
export interface Clock {
  nowMs(): number;
}

export const MONOTONIC_CLOCK: Clock = { nowMs: () => performance.now() };
