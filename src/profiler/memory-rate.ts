import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { NoodleError, resolveEntry } from "../common/index.ts";

/** What a reading thread is started with. */
export interface MemoryTask {
  readonly shared: SharedArrayBuffer;
  /** i32 at the places that `CONTROL` names. */
  readonly control: SharedArrayBuffer;
  readonly startByte: number;
  readonly endByte: number;
}

/** Threads that are ready; 1 once they may start; 1 once they must stop; pieces read by all of them. */
export const CONTROL = { ready: 0, start: 1, stop: 2, pieces: 3 } as const;

/** Bytes that are read between two looks at the flags. */
export const PIECE_BYTES = 4 * 1024 * 1024;

const WINDOWS = 6;
const WINDOW_MS = 60;
const START_TIMEOUT_MS = 20_000;

/**
 * Measures how fast `threads` threads together read memory: each searches its own part of an array far larger than the
 * caches for a byte that is not there, which the runtime does with the widest loads that the CPU has. The best of a few
 * windows counts, since others may use the memory too.
 *
 * @returns 10^9 bytes per second
 */
export async function measureMemoryRate(totalBytes: number, threads: number): Promise<number> {
  const partBytes = Math.ceil(totalBytes / threads / PIECE_BYTES) * PIECE_BYTES;
  const shared = new SharedArrayBuffer(partBytes * threads);
  const control = new SharedArrayBuffer(4 * Object.keys(CONTROL).length);
  const flags = new Int32Array(control);
  const entry = resolveEntry(import.meta.url, "./memory-thread");
  const workers = Array.from({ length: threads }, (_, index) => {
    const task: MemoryTask = { shared, control, startByte: index * partBytes, endByte: (index + 1) * partBytes };
    return new Worker(entry, { workerData: task });
  });
  const failure = Promise.race(
    workers.map(async (worker): Promise<never> => {
      throw NoodleError.from((await once(worker, "error"))[0]);
    }),
  );
  try {
    return await Promise.race([failure, readWindows(flags, threads)]);
  } finally {
    Atomics.store(flags, CONTROL.stop, 1);
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

async function readWindows(flags: Int32Array, threads: number): Promise<number> {
  const endMs = performance.now() + START_TIMEOUT_MS;
  while (Atomics.load(flags, CONTROL.ready) < threads) {
    if (performance.now() > endMs) throw new NoodleError("TIMED_OUT", "the threads of the memory test did not start");
    await sleep(2);
  }
  Atomics.store(flags, CONTROL.start, 1);
  Atomics.notify(flags, CONTROL.start);
  let best = 0;
  for (let window = 0; window < WINDOWS; window++) {
    const [startMs, startPieces] = [performance.now(), Atomics.load(flags, CONTROL.pieces)];
    await sleep(WINDOW_MS);
    const pieces = Atomics.load(flags, CONTROL.pieces) - startPieces;
    best = Math.max(best, (pieces * PIECE_BYTES) / (performance.now() - startMs) / 1e6);
  }
  return best;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
