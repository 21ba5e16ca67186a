import type { ClusterObserver } from "../../observe/index.ts";

type Method = keyof ClusterObserver;

const METHODS: readonly Method[] = [
  "onRequest",
  "onStep",
  "onLayer",
  "onLink",
  "onNode",
  "onModel",
  "onPlan",
  "onEvent",
];

/** An observer made of others. It has only the methods that one of them has, so nobody makes records for nobody. */
export interface CombinedObserver extends ClusterObserver {
  /** Calls that threw. A failed call is over for its observer; the others are called all the same. */
  readonly failures: number;
}

/** Passes every record on to each observer, in order. What one throws is counted and goes no further. */
export function combineObservers(...observers: readonly ClusterObserver[]): CombinedObserver {
  let failures = 0;
  const combined: Record<string, unknown> = {};
  for (const method of METHODS) {
    const listeners = observers.filter((observer) => observer[method] !== undefined);
    if (listeners.length === 0) continue;
    combined[method] = (record: never): void => {
      for (const listener of listeners) {
        try {
          listener[method]?.call(listener, record);
        } catch {
          failures += 1;
        }
      }
    };
  }
  return Object.defineProperty(combined, "failures", { get: () => failures }) as unknown as CombinedObserver;
}
