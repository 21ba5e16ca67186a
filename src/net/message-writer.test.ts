import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { MessageWriter } from "./message-writer.ts";

/** A call whose messages leave when the test says so. */
class ManualCall {
  readonly #waiting: (() => void)[] = [];

  write(_message: Buffer, onWritten: () => void): boolean {
    this.#waiting.push(onWritten);
    return true;
  }

  letGo(count: number): void {
    for (const onWritten of this.#waiting.splice(0, count)) onWritten();
  }
}

describe("MessageWriter", () => {
  it("counts the bytes that have not left, over many messages of different sizes", () => {
    const call = new ManualCall();
    const writer = new MessageWriter(call, 1000);
    let expected = 0;
    const sizes: number[] = [];
    for (let index = 0; index < 2000; index++) {
      sizes.push(index % 7);
      expected += index % 7;
      writer.send(Buffer.alloc(index % 7));
      // Three in, two out: the queue grows and is compacted many times.
      if (index % 3 === 0) {
        call.letGo(2);
        for (const size of sizes.splice(0, 2)) expected -= size;
      }
      expect(writer.pendingBytes).toBe(expected);
    }
    call.letGo(2000);
    expect(writer.pendingBytes).toBe(0);
  });

  it("says when there is no room, and wakes all who wait when there is", async () => {
    const call = new ManualCall();
    const writer = new MessageWriter(call, 100);
    expect(writer.send(Buffer.alloc(99))).toBe(true);
    await writer.drained();
    expect(writer.send(Buffer.alloc(1))).toBe(false);
    let woken = 0;
    const waits = [1, 2].map(async () => {
      await writer.drained();
      woken += 1;
    });
    expect(woken).toBe(0);
    call.letGo(1);
    await Promise.all(waits);
    expect(woken).toBe(2);
  });

  it("fails everything after its end with the first error", async () => {
    const call = new ManualCall();
    const writer = new MessageWriter(call, 1);
    writer.send(Buffer.alloc(5));
    const waiting = writer.drained();
    writer.fail(new NoodleError("PEER_DEAD", "gone"));
    writer.fail(new NoodleError("INTERNAL", "later"));
    await expect(waiting).rejects.toMatchObject({ code: "PEER_DEAD" });
    await expect(writer.drained()).rejects.toMatchObject({ code: "PEER_DEAD" });
    expect(() => writer.send(Buffer.alloc(1))).toThrow(expect.objectContaining({ code: "PEER_DEAD" }));
  });
});
