import { must } from "../common/index.ts";
import type { Library, Pointer } from "./native/index.ts";

interface SharedPool {
  readonly pool: Pointer;
  users: number;
}

/** One persistent pool for each number of threads: making threads anew for every graph costs about a tenth of a token. */
const pools = new Map<number, SharedPool>();

export function acquireThreadpool(library: Library, threads: number): Pointer {
  let shared = pools.get(threads);
  if (shared === undefined) {
    shared = { pool: library.newThreadpool(threads), users: 0 };
    pools.set(threads, shared);
  }
  shared.users++;
  return shared.pool;
}

export function releaseThreadpool(library: Library, threads: number): void {
  const shared = must(pools.get(threads), `threadpool of ${threads}`);
  shared.users--;
  if (shared.users > 0) return;
  library.freeThreadpool(shared.pool);
  pools.delete(threads);
}
