import { NoodleError } from "../../common/index.ts";
import { judgeHealth } from "../state/index.ts";
import type { Clock } from "./clock.ts";
import type { Control } from "./control.ts";
import { toError } from "./convert.ts";
import { describeProgress, type ReadyProgress } from "./describe.ts";

const PROGRESS_INTERVAL_MS = 500;

export interface ReadyWait {
  readonly control: Control;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly isServing: () => boolean;
  readonly isClosing: () => boolean;
  readonly onProgress?: ((progress: ReadyProgress) => void) | undefined;
  /**
   * Told of a stage that no worker can take; then another worker is waited for.
   *
   * @default none: the waiting ends with the error
   */
  readonly onFailed?: ((error: NoodleError) => void) | undefined;
}

/** @throws TIMED_OUT naming what is missing; INTERRUPTED; the error of a stage that no other worker can take */
export async function waitReady(options: ReadyWait): Promise<void> {
  const { control, clock, signal, timeoutMs, onProgress } = options;
  const deadlineMs = clock.nowMs() + timeoutMs;
  const onAbort = (): void => control.wakeWatchers();
  signal.addEventListener("abort", onAbort, { once: true });
  let told = "";
  try {
    while (!options.isServing()) {
      if (signal.aborted) throw new NoodleError("INTERRUPTED", "waiting for the workers was interrupted");
      if (options.isClosing()) throw new NoodleError("INTERRUPTED", "the coordinator is closing");
      const health = judgeHealth(control.state);
      if (health.status === "failed") {
        if (options.onFailed === undefined) throw toError(health.fault);
        if (health.reason !== told) options.onFailed(toError(health.fault));
        told = health.reason;
      }
      const progress = describeProgress(control.state);
      onProgress?.(progress);
      const leftMs = deadlineMs - clock.nowMs();
      if (leftMs <= 0) {
        throw new NoodleError("TIMED_OUT", `the cluster was not ready after ${timeoutMs} ms: ${progress.reason}`);
      }
      await control.nextChange(Math.min(leftMs, PROGRESS_INTERVAL_MS));
    }
    onProgress?.(describeProgress(control.state));
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
