/** How often a priority was passed over since one of it had its turn, or since any of it waits. */
export interface Passed {
  readonly priority: number;
  readonly times: number;
}

/** So often passed over, a priority counts as one more. */
const TIMES_PER_LEVEL = 4;

/** Passed over more often than this, a priority goes before all others, however large they are. */
const MOST_TIMES = 100;

/**
 * What a priority counts as now. Ageing is that of the priority and not of those who have it: among equals nothing
 * changes, and whoever is behind gets a turn now and then, the rarer the further behind.
 *
 * @returns Infinity for one that has waited for long enough
 */
export function agePriority(priority: number, passed: readonly Passed[]): number {
  const times = passed.find((other) => other.priority === priority)?.times ?? 0;
  return times >= MOST_TIMES ? Number.POSITIVE_INFINITY : priority + Math.floor(times / TIMES_PER_LEVEL);
}

/**
 * Counts turns that were had. What does not wait any more is forgotten.
 *
 * @param waiting priorities that had someone waiting; may name one several times
 * @param served priorities of those who had a turn, one for each turn
 */
export function countPassed(
  passed: readonly Passed[],
  waiting: Iterable<number>,
  served: readonly number[],
): readonly Passed[] {
  if (served.length === 0) return passed;
  const levels = new Set(waiting);
  for (const priority of served) levels.delete(priority);
  return [...levels].map((priority) => {
    const times = passed.find((other) => other.priority === priority)?.times ?? 0;
    return { priority, times: Math.min(MOST_TIMES, times + served.length) };
  });
}
