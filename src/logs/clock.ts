/** The two clocks of a log. */
export interface LogClock {
  /** Nanoseconds of the process's monotonic clock, whole. */
  monoNs(): number;
  /** Milliseconds since 1970. */
  unixMs(): number;
}

/** `process.hrtime` and `Date.now`: the clock of every time that a record calls `...MonoNs`. */
export const SYSTEM_LOG_CLOCK: LogClock = {
  monoNs: () => {
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1e9 + nanoseconds;
  },
  unixMs: () => Date.now(),
};

/** How far a reading of `Date.now` lies behind the time that it stands for, at most. */
export const ANCHOR_UNCERTAINTY_NS = 1_000_000;

/** One moment on both clocks. All wall times of a producer follow from it, so they never run backwards. */
export interface ClockAnchor {
  readonly unixNs: number;
  readonly monoNs: number;
}

export function takeAnchor(clock: LogClock): ClockAnchor {
  return { unixNs: clock.unixMs() * 1e6, monoNs: clock.monoNs() };
}

/** Wall time of a monotonic one. A double holds such a number in steps of 256 ns. */
export function toUnixNs(anchor: ClockAnchor, monoNs: number): number {
  return anchor.unixNs + (monoNs - anchor.monoNs);
}
