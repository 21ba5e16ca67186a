import { describe, expect, it } from "vitest";
import { LinkState } from "./link-state.ts";

const LINK = { from: "a", to: "b", latencyMs: 2, bytesPerMs: 100 };

describe("LinkState", () => {
  it("puts one message behind another, and delays each by the latency", () => {
    const link = new LinkState(LINK, 1);
    expect(link.send(0, 1000)).toBe(12);
    expect(link.send(1, 500)).toBe(17);
    expect(link.send(40, 0)).toBe(42);
    expect(link.busyMs).toBe(15);
  });

  it("follows changes of latency and bandwidth", () => {
    const link = new LinkState({ ...LINK, changes: [{ atMs: 10, latencyMs: 5, bytesPerMs: 10 }] }, 1);
    expect(link.send(0, 100)).toBe(3);
    expect(link.send(10, 100)).toBe(25);
  });

  it("jitters with the standard deviation that it is given, and lets nothing overtake", () => {
    const link = new LinkState({ ...LINK, jitterMs: 3 }, 1);
    const extra: number[] = [];
    let last = 0;
    for (let i = 0; i < 20_000; i++) {
      // So far apart that none waits for another.
      const atMs = i * 1000;
      const arrivalMs = link.send(atMs, 0);
      expect(arrivalMs).toBeGreaterThanOrEqual(last);
      last = arrivalMs;
      extra.push(arrivalMs - atMs - LINK.latencyMs);
    }
    const mean = extra.reduce((sum, ms) => sum + ms, 0) / extra.length;
    const deviation = Math.sqrt(extra.reduce((sum, ms) => sum + (ms - mean) ** 2, 0) / extra.length);
    expect(Math.min(...extra)).toBeGreaterThan(0);
    expect(Math.abs(deviation / 3 - 1)).toBeLessThan(0.1);
  });

  it("loses the share of messages that it is given, in bursts where it has any", () => {
    for (const burstMs of [0, 200]) {
      const link = new LinkState({ ...LINK, loss: { ratio: 0.05, burstMs, retransmitMs: 1 } }, 1);
      const late: boolean[] = [];
      for (let i = 0; i < 40_000; i++) late.push(link.send(i * 20, 0) - i * 20 > 2.5);
      const count = late.filter(Boolean).length;
      const neighbours = late.filter((isLate, i) => isLate && late[i + 1] === true).length;
      expect(Math.abs(count / late.length / 0.05 - 1)).toBeLessThan(burstMs > 0 ? 0.3 : 0.1);
      // Some are lost more than once.
      expect(link.lost).toBeGreaterThan(count);
      if (burstMs > 0) expect(neighbours / count).toBeGreaterThan(0.3);
      else expect(neighbours / count).toBeLessThan(0.15);
    }
  });

  it("holds up what is behind a message that is sent again", () => {
    const link = new LinkState({ ...LINK, loss: { ratio: 0.5, burstMs: 0, retransmitMs: 100 } }, 3);
    const arrivals = Array.from({ length: 50 }, (_, i) => link.send(i, 0));
    expect(link.lost).toBeGreaterThan(0);
    expect(arrivals).toEqual(arrivals.toSorted((a, b) => a - b));
  });
});
