import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { firstPlanEpoch, takeCoordinatorEpoch } from "./epoch-store.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "noodle-epoch-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

it("every start takes a higher epoch, and plan epochs of different starts never meet", async () => {
  const first = await takeCoordinatorEpoch(join(dir, "new"));
  const second = await takeCoordinatorEpoch(join(dir, "new"));
  expect(second).toBeGreaterThan(first);
  expect(firstPlanEpoch(second) - firstPlanEpoch(first)).toBeGreaterThanOrEqual(1_000_000);
});

it("a damaged epoch is refused instead of started over", async () => {
  await writeFile(join(dir, "coordinator-epoch"), "12x");
  await expect(takeCoordinatorEpoch(dir)).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
});
