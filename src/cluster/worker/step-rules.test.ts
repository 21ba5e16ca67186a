import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decideStep, type SessionPosition, type Step } from "./step-rules.ts";

const LIMITS = { epoch: 7, contextTokens: 100 };
const SESSION: SessionPosition = { fence: 3, branch: 1, nextPosition: 20, last: { position: 16, rows: 4 } };
const NEXT: Step = { epoch: 7, fence: 3, branch: 1, position: 20, rows: 2 };

describe("decideStep", () => {
  const table: readonly [title: string, step: Partial<Step>, expected: string, truncateTo?: number][] = [
    ["computes the next position", {}, "compute"],
    ["answers the last step's key from the kept reply", { position: 16, rows: 4 }, "resend"],
    ["refuses a lower position of the same fence", { position: 15, rows: 4 }, "STEP_OUT_OF_ORDER"],
    ["refuses the last position with another number of rows", { position: 16, rows: 3 }, "STEP_OUT_OF_ORDER"],
    ["refuses a position beyond the next", { position: 21 }, "STEP_OUT_OF_ORDER"],
    ["refuses a position beyond the next of a higher fence too", { position: 21, fence: 4 }, "STEP_OUT_OF_ORDER"],
    [
      "drops later positions for a lower position of a higher fence",
      { position: 5, fence: 4, branch: 0 },
      "compute",
      5,
    ],
    ["drops later positions for a lower position of a later branch", { position: 19, branch: 2 }, "compute", 19],
    ["computes the next position of a higher fence without dropping", { fence: 4 }, "compute"],
    ["computes again what a higher fence repeats", { fence: 4, position: 16, rows: 4 }, "compute", 16],
    ["refuses a lower fence", { fence: 2 }, "STALE_EPOCH"],
    ["refuses a lower fence with a later branch", { fence: 2, branch: 9 }, "STALE_EPOCH"],
    ["refuses an earlier branch", { branch: 0 }, "STALE_EPOCH"],
    ["refuses an older epoch", { epoch: 6 }, "STALE_EPOCH"],
    ["refuses a newer epoch", { epoch: 8 }, "STALE_EPOCH"],
    ["refuses more than the context holds", { rows: 81 }, "CONTEXT_EXCEEDED"],
    ["fills the context to its last token", { rows: 80 }, "compute"],
    ["refuses a step without rows", { rows: 0 }, "FRAME_INVALID"],
  ];
  for (const [title, change, expected, truncateTo] of table) {
    it(title, () => {
      const decision = decideStep(SESSION, { ...NEXT, ...change }, LIMITS);
      expect(decision.type === "refuse" ? decision.code : decision.type).toBe(expected);
      if (decision.type === "compute") expect(decision.truncateTo).toBe(truncateTo);
      if (decision.type === "refuse") expect(decision.details["have"]).toBe(20);
    });
  }

  it("has no kept reply before the first step", () => {
    const fresh: SessionPosition = { fence: 1, branch: 0, nextPosition: 0 };
    const decision = decideStep(fresh, { epoch: 7, fence: 1, branch: 0, position: 0, rows: 3 }, LIMITS);
    expect(decision).toMatchObject({ type: "compute", next: { nextPosition: 3 } });
  });

  const step = fc.record({
    epoch: fc.constantFrom(6, 7, 8),
    fence: fc.integer({ min: 1, max: 4 }),
    branch: fc.integer({ min: 0, max: 2 }),
    position: fc.integer({ min: 0, max: 12 }),
    rows: fc.integer({ min: 0, max: 4 }),
  });

  it("keeps the log of computed positions without gap, and never goes back in (fence, branch), whatever arrives", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let session: SessionPosition = { fence: 1, branch: 0, nextPosition: 0 };
        let log: string[] = [];
        for (const item of steps) {
          const before = session;
          const decision = decideStep(session, item, LIMITS);
          if (decision.type !== "compute") continue;
          if (decision.truncateTo !== undefined) log = log.slice(0, decision.truncateTo);
          expect(log).toHaveLength(item.position);
          for (let i = 0; i < item.rows; i++) log.push(`${item.fence}.${item.branch}`);
          session = decision.next;
          expect(session.nextPosition).toBe(log.length);
          expect(session.fence * 10 + session.branch).toBeGreaterThanOrEqual(before.fence * 10 + before.branch);
          expect(decideStep(session, item, LIMITS).type).toBe("resend");
        }
        // Attempts never get younger towards the front.
        expect([...log].sort()).toEqual(log);
      }),
      { seed: 42, numRuns: 1000 },
    );
  });
});
