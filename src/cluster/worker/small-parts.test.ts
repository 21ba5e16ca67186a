import { describe, expect, it } from "vitest";
import { NoodleError, resolveEntry } from "../../common/index.ts";
import { backoffMs, sleep } from "./backoff.ts";
import { parseCpuInfo } from "./capabilities.ts";
import { LineRing } from "./line-ring.ts";
import { checkMemory } from "./memory-check.ts";
import { claimNodeIdentity } from "./node-identity.ts";
import { SessionTable } from "./sessions.ts";
import { makeTemporaryDirectory } from "./testing-coordinator.ts";

describe("backoffMs", () => {
  it("doubles up to its cap and takes off at most half", () => {
    const options = { firstMs: 100, capMs: 2000 };
    expect([0, 1, 2, 10, 5000].map((attempt) => backoffMs(attempt, options, 0))).toEqual([100, 200, 400, 2000, 2000]);
    expect(backoffMs(1, options, 0.999)).toBeGreaterThanOrEqual(100);
  });

  it("does not sleep when there is no reason any more", async () => {
    const controller = new AbortController();
    const sleeps = [sleep(1e9, AbortSignal.abort()), sleep(1e9, controller.signal)];
    controller.abort();
    expect(await Promise.all(sleeps)).toHaveLength(2);
  });
});

describe("parseCpuInfo", () => {
  it("reads model and flags as x86 and as ARM write them", () => {
    const x86 = "processor\t: 0\nmodel name\t: Fast CPU\nflags\t\t: fpu avx2\n";
    expect(parseCpuInfo(x86, "")).toEqual({ model: "Fast CPU", features: ["fpu", "avx2"] });
    const arm = "processor\t: 0\nFeatures\t: fp asimd\n";
    expect(parseCpuInfo(arm, "Some ARM")).toEqual({ model: "Some ARM", features: ["fp", "asimd"] });
  });
});

describe("LineRing", () => {
  it("keeps the last lines, whatever the pieces they come in", () => {
    const ring = new LineRing(3);
    for (const piece of ["one\ntw", "o\nthree\n\nfo", "ur\nrest"]) ring.push(piece);
    expect(ring.tail(10)).toEqual(["three", "four", "rest"]);
    expect(ring.tail(1)).toEqual(["rest"]);
  });
});

describe("checkMemory", () => {
  const sizes = { weightsBytes: 1_000_000_000, kvBytes: 100_000_000 };

  it("compares with the limit where there is one, else with what is free", () => {
    checkMemory(sizes, 2_000_000_000, 0);
    checkMemory(sizes, 0, 2_000_000_000);
    for (const [limit, free] of [
      [1_100_000_000, 1e12],
      [0, 1_100_000_000],
    ] as const) {
      expect(() => checkMemory(sizes, limit, free)).toThrow(
        expect.objectContaining({ code: "MEMORY_INSUFFICIENT", details: expect.objectContaining(sizes) }),
      );
    }
  });
});

describe("claimNodeIdentity", () => {
  it("is the same after a restart, and another one beside a living worker", () => {
    const directory = makeTemporaryDirectory();
    const first = claimNodeIdentity(directory.path);
    const beside = claimNodeIdentity(directory.path);
    first.release();
    const again = claimNodeIdentity(directory.path);
    directory.remove();
    expect(again.nodeId).toBe(first.nodeId);
    expect(beside.nodeId).not.toBe(first.nodeId);
  });
});

describe("resolveEntry", () => {
  it("maps a TypeScript caller to the build and leaves a compiled one where it is", () => {
    expect(resolveEntry("file:///a/src/b/src/worker/x.ts", "./host-main")).toBe("/a/src/b/dist/worker/host-main.js");
    expect(resolveEntry("file:///a/src/b/dist/worker/x.js", "./host-main")).toBe("/a/src/b/dist/worker/host-main.js");
  });
});

describe("SessionTable", () => {
  const args = { id: "a", fence: 2, slot: 0, tokens: 0, leaseMs: 0, wantLogits: false };

  it("finds a session again for the same fence, hands it over to a higher one, and refuses a lower one", () => {
    const table = new SessionTable();
    const { session } = table.create(args, 0);
    session.position = { fence: 2, branch: 1, nextPosition: 7, last: { position: 6, rows: 1 } };
    expect(table.create(args, 0)).toEqual({ session, created: false });
    expect(table.create({ ...args, fence: 3 }, 0).created).toBe(false);
    expect(session.position).toEqual({ fence: 3, branch: 0, nextPosition: 7 });
    expect(() => table.create(args, 0)).toThrow(NoodleError);
    expect(table.size).toBe(1);
  });

  it("starts where it is told, and lets no lease end what is being closed", () => {
    const table = new SessionTable();
    const { session } = table.create({ ...args, tokens: 5, leaseMs: 10 }, 0);
    expect(session.position.nextPosition).toBe(5);
    session.isClosing = true;
    expect(table.removeExpired(20)).toEqual([]);
    session.isClosing = false;
    expect(table.removeExpired(20)).toEqual([session]);
  });
});
