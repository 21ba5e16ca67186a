/** What decides whose turn it is. */
export interface Turn {
  readonly client: string;
  /** Larger goes first. */
  readonly priority: number;
  /** Any monotonic count. */
  readonly readySince: number;
}

/**
 * Who is served next: the largest priority, then the client whose turn it is (the one behind the client that was served
 * last, in the order of their names), then whoever waits longest.
 */
export function chooseNext<T extends Turn>(candidates: Iterable<T>, lastClient: string | null): T | null {
  let best: T | null = null;
  let bestBehind = false;
  for (const session of candidates) {
    const behind = lastClient !== null && session.client <= lastClient;
    if (best === null || comesBefore(session, behind, best, bestBehind)) {
      best = session;
      bestBehind = behind;
    }
  }
  return best;
}

/** @param behind its client has to wait for those with greater names first */
function comesBefore(a: Turn, behind: boolean, b: Turn, bBehind: boolean): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (behind !== bBehind) return bBehind;
  if (a.client !== b.client) return a.client < b.client;
  return a.readySince < b.readySince;
}
