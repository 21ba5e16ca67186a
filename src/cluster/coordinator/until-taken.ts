import { NoodleError } from "../../common/index.ts";
import type { CoordinatorState } from "../../store/index.ts";

/** Longest time for which a coordinator that lost its state does not know. */
const CHECK_INTERVAL_MS = 1000;

/**
 * Waits until a later coordinator has taken the state.
 *
 * @param signal ends the waiting
 * @throws STATE_TAKEN
 */
export async function untilTaken(
  state: Pick<CoordinatorState, "requireTerm">,
  signal: AbortSignal,
  intervalMs = CHECK_INTERVAL_MS,
): Promise<void> {
  while (!signal.aborted) {
    try {
      state.requireTerm();
    } catch (thrown) {
      const error = NoodleError.from(thrown);
      // A state that is busy or damaged says so where it is written.
      if (error.code === "STATE_TAKEN") throw error;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, intervalMs);
      timer.unref();
      signal.addEventListener("abort", done, { once: true });
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      }
    });
  }
}
