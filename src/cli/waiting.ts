import type { ReadyProgress } from "../cluster/coordinator/index.ts";
import type { Output } from "./output.ts";
import { formatBytes } from "./quantities.ts";

/** How long a cluster on this machine may take until it is ready. */
export const LOCAL_READY_TIMEOUT_MS = 300_000;

/** A coordinator waits for people to start workers: a day. */
export const PATIENT_READY_TIMEOUT_MS = 86_400_000;

/** Says what a cluster waits for: a phase whenever that changes, bytes in between. */
export function reportReadiness(out: Output): (progress: ReadyProgress) => void {
  let said = "";
  return (progress) => {
    const state = `${progress.joined} of ${progress.expect} workers joined, ${progress.readyStages} stages ready`;
    if (state !== said) {
      said = state;
      out.progress.phase(state);
    }
    const { bytesDone, bytesTotal } = progress;
    if (bytesTotal > 0)
      out.progress.update(bytesDone / bytesTotal, `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`);
  };
}

/** Resolves when the signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Waits `ms`; ends early, without an error, when the signal is aborted. */
export function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end, { once: true });
  });
}
