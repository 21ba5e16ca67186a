import { describe, expect, it } from "vitest";
import { EmulatedSpeed } from "./emulated-speed.ts";

/** A clock that runs only while somebody waits, and waits that take so much longer than they were to. */
function makeSpeed(factor: number, lateMs: number) {
  let nowNs = 0;
  const speed = new EmulatedSpeed(
    factor,
    () => nowNs,
    (ms) => {
      nowNs += (ms + lateMs) * 1e6;
    },
  );
  return {
    /** A call that really takes so long. @returns how long it takes on the emulated machine */
    call(ms: number): number {
      const startNs = nowNs;
      nowNs += ms * 1e6;
      return (speed.finish(startNs, nowNs) - startNs) / 1e6;
    },
  };
}

describe("an emulated speed", () => {
  it("multiplies the time that each call really took", () => {
    const machine = makeSpeed(3, 0);
    expect([machine.call(2), machine.call(5)]).toEqual([6, 15]);
  });

  it("leaves calls alone at factor 1", () => {
    expect(makeSpeed(1, 5).call(2)).toBe(2);
  });

  it("takes what a wait was too long off the next ones", () => {
    const machine = makeSpeed(2, 0.1);
    let total = 0;
    for (let i = 0; i < 100; i++) total += machine.call(1);
    expect(total).toBeGreaterThanOrEqual(200);
    expect(total).toBeLessThan(200.2);
  });

  it("does not catch up in one call what the thread was not woken for", () => {
    const machine = makeSpeed(2, 50);
    machine.call(10);
    expect(machine.call(10)).toBeGreaterThanOrEqual(18);
  });
});
