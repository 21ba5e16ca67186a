import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nextSteps, type WaitingSession } from "./schedule.ts";

const session = (id: string, position: number, waitingRows: number, maxRows = 4): WaitingSession => ({
  id,
  position,
  waitingRows,
  maxRows,
});

describe("nextSteps", () => {
  it("sends a prompt in chunks one behind another and asks for output of the last row only", () => {
    const steps = nextSteps({ sessions: [session("a", 0, 10)], credits: 8, lastServed: null });
    expect(steps.map((step) => [step.position, step.rows, step.output])).toEqual([
      [0, 4, "none"],
      [4, 4, "none"],
      [8, 2, "last"],
    ]);
  });

  it("lets a token of one session pass between the chunks of another's prompt", () => {
    const steps = nextSteps({ sessions: [session("a", 0, 8), session("b", 30, 1)], credits: 3, lastServed: null });
    expect(steps.map((step) => step.sessionId)).toEqual(["a", "b", "a"]);
  });

  it("goes on behind the session that was served last", () => {
    const sessions = [session("a", 5, 1), session("b", 5, 1), session("c", 5, 1)];
    expect(nextSteps({ sessions, credits: 1, lastServed: "a" })[0]?.sessionId).toBe("b");
    expect(nextSteps({ sessions, credits: 1, lastServed: "c" })[0]?.sessionId).toBe("a");
    expect(nextSteps({ sessions, credits: 1, lastServed: "gone" })[0]?.sessionId).toBe("a");
  });

  it("never exceeds credits or rows, keeps each session's rows in order, and starves nobody", () => {
    const arbitrary = fc.record({
      sizes: fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 6 }),
      credits: fc.integer({ min: 0, max: 12 }),
      maxRows: fc.integer({ min: 1, max: 5 }),
    });
    const property = fc.property(arbitrary, ({ sizes, credits, maxRows }) => {
      const sessions = sizes.map((size, index) => session(`s${index}`, index * 100, size, maxRows));
      const steps = nextSteps({ sessions, credits, lastServed: null });
      const total = sizes.reduce((sum, size) => sum + Math.ceil(size / maxRows), 0);
      expect(steps).toHaveLength(Math.min(credits, total));
      const counts: number[] = [];
      for (const [index, one] of sessions.entries()) {
        const mine = steps.filter((step) => step.sessionId === one.id);
        let position = one.position;
        for (const step of mine) {
          expect(step.position).toBe(position);
          expect(step.rows).toBeLessThanOrEqual(maxRows);
          position += step.rows;
          expect(step.output).toBe(position === one.position + one.waitingRows ? "last" : "none");
        }
        if (mine.length < Math.ceil((sizes[index] ?? 0) / maxRows)) counts.push(mine.length);
      }
      // Of those that still wait, nobody is more than one step ahead.
      expect(Math.max(0, ...counts) - Math.min(...counts, Number.POSITIVE_INFINITY)).toBeLessThanOrEqual(1);
    });
    fc.assert(property, { seed: 20261123, numRuns: 300 });
  });
});
