import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { NoodleError } from "../../common/index.ts";
import { KeptWorker } from "./kept-worker.ts";
import { WorkerProcess } from "./worker-process.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "noodle-kept-test-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

interface Death {
  readonly error: NoodleError;
  readonly waitMs: number;
}

/** A worker that is `script`, and what is told of its deaths. */
async function keep(script: string): Promise<{ readonly worker: KeptWorker; readonly deaths: Death[] }> {
  const entry = join(dir, "entry.mjs");
  await writeFile(entry, script);
  const deaths: Death[] = [];
  const make = (): WorkerProcess => new WorkerProcess({ entry, name: "kept", args: ["worker"] });
  const worker = new KeptWorker(make, (error, waitMs) => void deaths.push({ error, waitMs }));
  worker.keep();
  return { worker, deaths };
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(condition()).toBe(true);
}

it("a worker that dies is told of with its end, and started again behind waits that grow", async () => {
  const { worker, deaths } = await keep('console.error("no room"); process.exit(7);');
  const first = worker.process.pid;
  await until(() => deaths.length === 2);
  await worker.stop(100);
  expect(deaths.map(({ waitMs }) => waitMs)).toEqual([250, 500]);
  expect(deaths[0]?.error).toMatchObject({ code: "PEER_DEAD", details: { exitCode: 7, lastLines: ["no room"] } });
  expect(worker.process.pid).not.toBe(first);
  expect(worker.process.running).toBe(false);
});

it("one that ends when it is meant to has not died", async () => {
  const { worker, deaths } = await keep("setInterval(() => {}, 1000);");
  worker.release();
  process.kill(worker.process.pid ?? 0, "SIGKILL");
  await worker.process.exited;
  await worker.stop(100);
  expect(deaths).toEqual([]);
});
