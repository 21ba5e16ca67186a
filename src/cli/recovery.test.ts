import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import type { EventRecord } from "../observe/index.ts";
import { describeRecovery, nextTokenMs, readRecovery } from "./recovery.ts";

function makeEvent(details: EventRecord["details"]): EventRecord {
  return { name: "recovery.done", severity: "warning", nodeId: "n2", message: "told", details };
}

const DETAILS = {
  cause: "peer_dead",
  epoch: 4,
  sessions: 2,
  resumed: 2,
  tokens_refilled: 140,
  exact: true,
  detect_ms: 4,
  replan_ms: 500,
  refill_ms: 45,
  first_token_ms: 530,
  last_token_ms: 560,
};

describe("a recovery", () => {
  it("is read of its event alone, and its parts are the whole", () => {
    expect(readRecovery({ ...makeEvent(DETAILS), name: "worker.lost" })).toBeNull();
    const recovery = must(readRecovery(makeEvent(DETAILS)), "recovery");
    expect(nextTokenMs(recovery)).toBe(15);
    const words = describeRecovery(recovery, "worker-2");
    expect(words).toMatch(/^2 of 2 streams go on after 564 ms \(worker-2, peer_dead\)/);
    expect(words).not.toContain("differ");
  });

  it("says so where nothing ran, where nobody was left, and where bits may differ", () => {
    const idle = { ...DETAILS, sessions: 0, resumed: 0, detect_ms: null, refill_ms: null, last_token_ms: null };
    const read = (details: object): string => describeRecovery(must(readRecovery(makeEvent({ ...details })), ""), null);
    expect(read(idle)).toContain("nothing was running");
    expect(read({ ...idle, sessions: 1 })).toContain("none of 1 stream was left");
    expect(read({ ...DETAILS, exact: false })).toContain("bits may differ");
    expect(nextTokenMs(must(readRecovery(makeEvent(idle)), ""))).toBeNull();
  });
});
