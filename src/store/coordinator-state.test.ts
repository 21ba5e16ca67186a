import {
  copyFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { CoordinatorState, type StateOptions } from "./coordinator-state.ts";
import type { EventRow } from "./records.ts";
import { Sqlite } from "./sqlite.ts";

/** 2026-01-01. */
const NOW_MS = 1_767_225_600_000;
const PLAN = {
  epoch: 1_000_001,
  model: "m1",
  stages: [
    { units: "0:3", nodeId: "n-1" },
    { units: "3:6", nodeId: null },
  ],
};

let root = "";
let events: EventRow[] = [];
const opened: CoordinatorState[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "noodle-state-"));
  events = [];
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((state) => state.close()));
  rmSync(root, { recursive: true, force: true });
});

function open(name = "a", options: Partial<StateOptions> = {}): CoordinatorState {
  const state = CoordinatorState.open({
    directory: join(root, name),
    nowMs: () => NOW_MS,
    onEvent: (event) => events.push(event),
    ...options,
  });
  opened.push(state);
  return state;
}

/** A store with a plan, hashes and an open session, closed in order and copied, so that nobody holds the copy. */
async function makeCopy(name: string): Promise<string> {
  const state = open("sound");
  state.commitPlan(PLAN);
  state.writeHashes({ files: "/models/of-this-test.gguf", stamps: "[1]", hashes: "{}" });
  const session = { sessionId: "s1", client: "", request: {}, promptTokenIds: [1, 2], deadlineMs: null };
  await state.journal.openSession(session, NOW_MS);
  await state.journal.appendTokens("s1", 2, [3, 4], null);
  await state.close();
  cpSync(join(root, "sound"), join(root, name), { recursive: true });
  return join(root, name, "state-1.db");
}

it("every start takes a higher term, and what was committed is there again", async () => {
  const first = open();
  expect(first.readLastPlan()).toBeNull();
  first.commitPlan(PLAN);
  first.writeHashes({ files: "f", stamps: "s", hashes: "h" });
  await first.close();
  await first.close();
  const second = open();
  expect([first.term, second.term]).toEqual([1, 2]);
  expect(second.readLastPlan()).toEqual(PLAN);
  expect([...second.readHolders("m1")]).toEqual([["0:3", "n-1"]]);
  expect(second.readHolders("m2").size).toBe(0);
  expect(second.readHashes("f")).toEqual({ files: "f", stamps: "s", hashes: "h" });
  expect(events).toEqual([]);
});

it("whatever a coordinator writes is refused as soon as a later one has the state", async () => {
  const first = open();
  await first.journal.openSession(
    { sessionId: "s", client: "", request: {}, promptTokenIds: [1], deadlineMs: null },
    0,
  );
  const second = open();
  const taken = { code: "STATE_TAKEN", details: { term: 1, laterTerm: 2 } };
  expect(() => first.commitPlan(PLAN)).toThrow(expect.objectContaining(taken));
  expect(() => first.writeHashes({ files: "f", stamps: "s", hashes: "h" })).toThrow(expect.objectContaining(taken));
  expect(() => first.dropSessions(["s"])).toThrow(expect.objectContaining(taken));
  expect(() => first.requireTerm()).toThrow(expect.objectContaining(taken));
  await expect(first.journal.appendTokens("s", 1, [2], null)).rejects.toMatchObject(taken);
  expect(second.readLastPlan()).toBeNull();
  expect(second.loadOpenSessions()).toMatchObject([{ sessionId: "s", tokenIds: [] }]);
  second.commitPlan({ ...PLAN, epoch: 2_000_001 });
  expect(second.readLastPlan()?.epoch).toBe(2_000_001);
});

it("an event that can not be kept is told all the same, and a listener that throws harms nothing", () => {
  const first = open("a", {
    onEvent: (event) => {
      events.push(event);
      throw new Error("listener");
    },
  });
  open();
  first.recordEvent({ name: "x.y", severity: "info", nodeId: null, message: "m", details: {} });
  expect(events).toMatchObject([{ name: "x.y" }]);
});

type Damage = readonly [string, (path: string) => void];

const DAMAGES: readonly Damage[] = [
  ["is cut in half", (path) => truncateSync(path, Math.floor(readFileSync(path).length / 2))],
  ["is empty", (path) => truncateSync(path, 0)],
  ["is no database", (path) => writeFileSync(path, "words ".repeat(2000))],
  ["has another magic", (path) => flip(path, 3)],
  ["has another application id", (path) => flip(path, 70)],
  ["has another schema version in its header", (path) => flip(path, 62)],
  ["has a page that is none", (path) => flip(path, 4096)],
  ["has a plan that was changed", (path) => flip(path, find(path, "0:3"))],
  ["has a page of zeros", (path) => writeAt(path, 4096, Buffer.alloc(4096))],
  ["is gone, and its log is there", (path) => renameToLog(path)],
];

it.each(DAMAGES)("a store that %s is set aside, told, and followed by a higher term", async (_how, damage) => {
  const path = await makeCopy("b");
  damage(path);
  const damaged = readdirSync(join(root, "b")).map((name) => readFileSync(join(root, "b", name)));
  const state = open("b");
  expect(events).toMatchObject([{ name: "state.damaged", severity: "error" }]);
  const names = readdirSync(join(root, "b"));
  const aside = names.filter((name) => name.includes(".damaged-"));
  expect(aside.length).toBeGreaterThan(0);
  // What lies aside is what was there.
  expect(aside.some((name) => damaged.some((bytes) => bytes.equals(readFileSync(join(root, "b", name)))))).toBe(true);
  expect(state.term).toBeGreaterThan(100_000_000);
  expect(state.readLastPlan()).toBeNull();
  state.commitPlan(PLAN);
  await state.close();
  events = [];
  const next = open("b");
  expect(next.term).toBe(state.term + 1);
  expect(next.readLastPlan()).toEqual(PLAN);
  expect(events).toEqual([]);
});

it("a store of a newer release is refused and left as it is", async () => {
  const path = await makeCopy("b");
  const db = Sqlite.open(path, { busyMs: 100 });
  db.exec("UPDATE meta SET value = '99'; PRAGMA user_version = 99");
  db.close();
  expect(() => open("b")).toThrow(expect.objectContaining({ code: "STATE_VERSION" }));
  expect(readdirSync(join(root, "b")).filter((name) => name.includes("damaged"))).toEqual([]);
});

it("a log that is gone is told, and no term is taken twice", () => {
  const first = open();
  first.commitPlan(PLAN);
  // As a crash leaves it, but for the log.
  cpSync(join(root, "a"), join(root, "crashed"), { recursive: true });
  const second = open("crashed");
  expect(events).toEqual([]);
  expect(second.readLastPlan()).toEqual(PLAN);
  cpSync(join(root, "a"), join(root, "lost"), { recursive: true });
  rmSync(join(root, "lost", "state-1.db-wal"));
  rmSync(join(root, "lost", "state-1.db-shm"), { force: true });
  const third = open("lost");
  expect(events).toMatchObject([{ name: "state.incomplete", severity: "error" }]);
  expect(third.term).toBe(2);
});

it("damage that shows itself late sets the store aside, and every later call says so", async () => {
  await makeCopy("b");
  const state = open("b");
  const path = join(root, "b", "state-1.db");
  state.commitPlan({ ...PLAN, epoch: 9 });
  writeAt(path, 4096, Buffer.alloc(readFileSync(path).length - 4096, 0x5a));
  const failing = (): void => {
    for (let epoch = 10; epoch < 40; epoch++) {
      state.commitPlan({ ...PLAN, epoch, stages: [{ units: "x".repeat(9000), nodeId: "n" }] });
      state.readHashes("/models/of-this-test.gguf");
    }
  };
  // What is cached stays readable: another connection sees the damage.
  const journal = state.journal;
  const session = { sessionId: "s2", client: "", request: {}, promptTokenIds: [1], deadlineMs: null };
  const written = await journal.openSession(session, 0).then(
    () => "written",
    (error: unknown) => (error as { code: string }).code,
  );
  if (written === "written") expect(failing).toThrow(expect.objectContaining({ code: "STATE_DAMAGED" }));
  else expect(written).toBe("STATE_DAMAGED");
  expect(() => state.readLastPlan()).toThrow(expect.objectContaining({ code: "STATE_DAMAGED" }));
  expect(events.at(-1)).toMatchObject({ name: "state.damaged" });
  expect(open("b").term).toBeGreaterThan(100_000_000);
});

it("a disk that is full is an error of its own, and what is there stays readable", async () => {
  const state = open("a", { maxPages: 60 });
  state.commitPlan(PLAN);
  const session = (index: number) => ({
    sessionId: `s${index}`,
    client: "",
    request: {},
    promptTokenIds: Array.from({ length: 4000 }, () => index),
    deadlineMs: null,
  });
  let accepted = 0;
  const filling = async (): Promise<void> => {
    for (; accepted < 1000; accepted++) await state.journal.openSession(session(accepted), 0);
  };
  await expect(filling()).rejects.toMatchObject({ code: "DISK_FULL" });
  expect(accepted).toBeGreaterThan(2);
  expect(state.readLastPlan()).toEqual(PLAN);
  for (let index = 0; index < accepted; index++) await state.journal.closeSession(`s${index}`, "done", 0);
  await state.journal.openSession(session(7), 0);
  const later = open();
  expect(later.loadOpenSessions().map(({ sessionId }) => sessionId)).toEqual(["s7"]);
});

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = must(bytes[at], "byte") ^ 0x55;
  writeFileSync(path, bytes);
}

function writeAt(path: string, at: number, part: Buffer): void {
  const bytes = readFileSync(path);
  part.copy(bytes, at);
  writeFileSync(path, bytes);
}

function find(path: string, text: string): number {
  const at = readFileSync(path).indexOf(`"units":"${text}`);
  expect(at).toBeGreaterThan(0);
  return at + 9;
}

function renameToLog(path: string): void {
  copyFileSync(path, `${path}-wal`);
  rmSync(path);
}
