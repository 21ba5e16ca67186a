import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { watchInterrupts } from "./signals.ts";

test("the first Ctrl-C aborts with INTERRUPTED, the second kills", () => {
  const source = new EventEmitter();
  let kills = 0;
  const notes: string[] = [];
  const signal = watchInterrupts(
    source,
    () => {
      kills += 1;
    },
    (text) => notes.push(text),
  );
  expect(signal.aborted).toBe(false);
  source.emit("SIGINT");
  expect(signal.aborted).toBe(true);
  expect(signal.reason).toMatchObject({ code: "INTERRUPTED" });
  expect([kills, notes.length]).toEqual([0, 1]);
  source.emit("SIGTERM");
  expect([kills, notes.length]).toEqual([1, 1]);
});
