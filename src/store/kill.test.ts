import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, it } from "vitest";
import { resolveEntry } from "../common/index.ts";
import { CoordinatorState } from "./coordinator-state.ts";

const KILLS = 20;
const SEED = 20_261_123;

/** Tells what it finds, then writes plans and tokens for ever, and tells each one that is acknowledged. */
const WRITER = `
  import { writeSync } from "node:fs";
  import { CoordinatorState } from ${JSON.stringify(resolveEntry(import.meta.url, "./index"))};
  const say = (line) => writeSync(1, JSON.stringify(line) + "\\n");
  const state = CoordinatorState.open({ directory: process.argv[1], nowMs: Date.now, onEvent: (event) => say({ event }) });
  const { term } = state;
  const found = state.loadOpenSessions();
  say({ term, plan: state.readLastPlan()?.epoch ?? 0, found: found.map(({ term, tokenIds }) => ({ term, tokenIds })) });
  state.dropSessions(found.map(({ sessionId }) => sessionId));
  const { journal } = state;
  await journal.openSession({ sessionId: "s" + term, client: "", request: {}, promptTokenIds: [1], deadlineMs: null }, Date.now());
  let next = 0;
  const stop = (error) => { say({ refused: error.code }); process.exit(0); };
  const write = async () => {
    for (;;) {
      const index = next++;
      await journal.appendTokens("s" + term, 1 + index, [index * 7], null).catch(stop);
      say({ token: index });
    }
  };
  for (let lane = 0; lane < 4; lane++) void write();
  for (let index = 1; ; index++) {
    try {
      state.commitPlan({ epoch: term * 1000000 + index, model: "m", stages: [] });
    } catch (error) { stop(error); }
    say({ plan: term * 1000000 + index });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
`;

interface Line {
  readonly event?: object;
  readonly term?: number;
  readonly plan?: number;
  readonly token?: number;
  readonly refused?: string;
  readonly found?: readonly { readonly term: number; readonly tokenIds: readonly number[] }[];
}

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "noodle-kill-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** @param whenReached is called once, when the writer has acknowledged a few tokens */
async function runWriter(whenReached: (child: ChildProcess) => void): Promise<readonly Line[]> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", WRITER, root], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: Line[] = [];
  const closed = once(child, "close");
  let isReached = false;
  for await (const text of createInterface({ input: child.stdout })) {
    // The last line of a writer that was killed may be cut.
    if (!text.endsWith("}")) continue;
    const line = JSON.parse(text) as Line;
    lines.push(line);
    if (!isReached && (line.token ?? 0) > 3) {
      isReached = true;
      whenReached(child);
    }
  }
  await closed;
  return lines;
}

it(`no acknowledged row is lost, and none is doubled, in ${KILLS} kills at random moments`, async () => {
  let seed = SEED;
  const delays = Array.from({ length: KILLS }, () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % 60;
  });
  let before: readonly Line[] = [];
  for (const [round, delayMs] of delays.entries()) {
    const lines = await runWriter((child) => setTimeout(() => child.kill("SIGKILL"), delayMs));
    expect(lines.filter(({ event }) => event !== undefined)).toEqual([]);
    const [start] = lines;
    expect(start?.term).toBe(round + 1);
    expect(start?.plan).toBeGreaterThanOrEqual(Math.max(0, ...before.slice(1).map(({ plan }) => plan ?? 0)));
    if (round > 0) {
      const acknowledged = Math.max(...before.map(({ token }) => token ?? 0));
      const { found = [] } = start ?? {};
      expect(found.map(({ term }) => term)).toEqual([round]);
      const tokenIds = found[0]?.tokenIds ?? [];
      expect(tokenIds.length).toBeGreaterThan(acknowledged);
      expect(tokenIds).toEqual(tokenIds.map((_, index) => index * 7));
    }
    before = lines;
  }
}, 60_000);

it("a process whose state another one takes is refused, and ends with what it had", async () => {
  const taken: CoordinatorState[] = [];
  const lines = await runWriter(() => {
    taken.push(CoordinatorState.open({ directory: root, nowMs: Date.now }));
  });
  expect(lines.at(-1)).toEqual({ refused: "STATE_TAKEN" });
  const [state] = taken;
  const [session] = state?.loadOpenSessions() ?? [];
  const acknowledged = Math.max(...lines.map(({ token }) => token ?? 0));
  expect(session?.tokenIds.length).toBeGreaterThan(acknowledged);
  expect(state?.term).toBe(2);
  await state?.close();
}, 20_000);
