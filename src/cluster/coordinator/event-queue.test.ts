import { expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { EventQueue } from "./event-queue.ts";

it("a reader gets what was queued before the error, and nothing after it", async () => {
  const queue = new EventQueue<number>();
  const first = queue.next();
  queue.push(1);
  queue.push(2);
  queue.end(new NoodleError("PEER_DEAD", "broken"));
  queue.push(3);
  expect(await first).toBe(1);
  expect(queue.size).toBe(1);
  expect(await queue.next()).toBe(2);
  await expect(queue.next()).rejects.toMatchObject({ code: "PEER_DEAD" });
  expect(await queue.next()).toBeUndefined();
});

it("a waiting reader is woken by the end", async () => {
  const queue = new EventQueue<number>();
  const waiting = queue.next();
  queue.end();
  expect(await waiting).toBeUndefined();
});
