import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tryLock } from "./lock.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "noodle-lock-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("tryLock", () => {
  it("gives the lock to one holder until it is released", () => {
    const path = join(directory, "a.lock");
    const lock = tryLock(path);
    expect(lock).toBeDefined();
    expect(tryLock(path)).toBeUndefined();
    lock?.release();
    expect(tryLock(path)).toBeDefined();
    expect(readdirSync(directory)).toEqual(["a.lock"]);
  });

  it("takes over the lock of a dead process", () => {
    const path = join(directory, "a.lock");
    const dead = spawnSync(process.execPath, ["-e", "console.log(process.pid)"], { encoding: "utf8" });
    writeFileSync(path, dead.stdout);
    const lock = tryLock(path);
    expect(lock).toBeDefined();
    lock?.release();
    expect(existsSync(path)).toBe(false);
  });
});
