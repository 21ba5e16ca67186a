import { expect, it } from "vitest";
import type { ClusterObserver, EventRecord } from "../../observe/index.ts";
import { combineObservers } from "./observers.ts";

const EVENT: EventRecord = { name: "x", severity: "info", nodeId: null, message: "", details: {} };

it("passes each record to all that want it, in order, and has no method that nobody has", () => {
  const heard: string[] = [];
  const combined = combineObservers(
    { onEvent: () => void heard.push("first") },
    {},
    { onEvent: ({ name }) => void heard.push(name) },
  );
  combined.onEvent?.(EVENT);
  expect(heard).toEqual(["first", "x"]);
  expect("onLayer" in combined).toBe(false);
  expect(Object.keys(combined)).toEqual(["onEvent"]);
});

it("calls methods on their own objects, so that classes can be observers", () => {
  class Counter implements ClusterObserver {
    count = 0;
    onEvent(): void {
      this.count += 1;
    }
  }
  const counter = new Counter();
  combineObservers(combineObservers(counter)).onEvent?.(EVENT);
  expect(counter.count).toBe(1);
});

it("counts what is thrown, and calls the others all the same", () => {
  const heard: string[] = [];
  const combined = combineObservers(
    {
      onEvent: () => {
        throw new Error("boom");
      },
    },
    { onEvent: () => void heard.push("second") },
  );
  combined.onEvent?.(EVENT);
  combined.onEvent?.(EVENT);
  expect(heard).toEqual(["second", "second"]);
  expect(combined.failures).toBe(2);
});
