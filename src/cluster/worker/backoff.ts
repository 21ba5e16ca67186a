export interface BackoffOptions {
  readonly firstMs: number;
  readonly capMs: number;
}

/**
 * The wait before attempt number `attempt` (0-based): doubled each time up to the cap, then shortened by up to half, so
 * that peers which failed together do not return together.
 *
 * @param random uniform in [0, 1)
 */
export function backoffMs(attempt: number, options: BackoffOptions, random: number): number {
  const full = Math.min(options.capMs, options.firstMs * 2 ** Math.min(attempt, 30));
  return full * (1 - random / 2);
}

/** Resolves after `ms`, or at once when `signal` aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}
