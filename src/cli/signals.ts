import { NoodleError } from "../common/index.ts";

/** What `watchInterrupts` needs of the process. */
export interface SignalSource {
  on(signal: "SIGINT" | "SIGTERM" | "SIGHUP", listener: () => void): unknown;
}

/**
 * The first Ctrl-C (or SIGTERM, SIGHUP) aborts the returned signal, so that the command ends cleanly with 130; the second
 * calls `kill`, which ends the process at once.
 */
export function watchInterrupts(source: SignalSource, kill: () => void, note: (text: string) => void): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    source.on(name, () => {
      if (controller.signal.aborted) {
        kill();
        return;
      }
      note(`noodle: ${name}: ending cleanly; once more ends at once`);
      controller.abort(new NoodleError("INTERRUPTED", `stopped by ${name}`));
    });
  }
  return controller.signal;
}
