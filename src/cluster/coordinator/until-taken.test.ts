import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { CoordinatorState } from "../../store/index.ts";
import { untilTaken } from "./until-taken.ts";

it("a coordinator hears that a later one has its state, and waits no longer than it is told to", async () => {
  const directory = mkdtempSync(join(tmpdir(), "noodle-taken-"));
  const open = (): CoordinatorState => CoordinatorState.open({ directory, nowMs: Date.now });
  const first = open();
  const stop = new AbortController();
  const stopped = untilTaken(first, stop.signal);
  stop.abort();
  await stopped;
  const lost = untilTaken(first, new AbortController().signal, 5);
  const keepAlive = setInterval(() => undefined, 5);
  const second = open();
  await expect(lost).rejects.toMatchObject({ code: "STATE_TAKEN" });
  clearInterval(keepAlive);
  await Promise.all([first.close(), second.close()]);
  rmSync(directory, { recursive: true, force: true });
});
