/** The same moment on the wall clock and on the monotonic one. */
export interface WallClock {
  readonly unixMs: number;
  readonly monoNs: number;
}

const NS_PER_SECOND = 1e9;

/** A monotonic time as [seconds, nanoseconds] since 1970; nanoseconds since then would not fit into a number. */
export function toHrTime(clock: WallClock, monoNs: number): [number, number] {
  const wholeSeconds = Math.floor(clock.unixMs / 1000);
  const nanoseconds = (clock.unixMs - wholeSeconds * 1000) * 1e6 + (monoNs - clock.monoNs);
  const carry = Math.floor(nanoseconds / NS_PER_SECOND);
  return [wholeSeconds + carry, Math.round(nanoseconds - carry * NS_PER_SECOND)];
}
