import { NoodleError } from "../common/index.ts";

/** @throws NoodleError `INTERRUPTED` when the signal is aborted */
export function throwIfInterrupted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted !== true) return;
  throw new NoodleError("INTERRUPTED", `${what}: stopped before the end`, { cause: signal.reason });
}
