import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { describeWorkload } from "../../src/cli/live-planning.ts";
import { LoopDriver, LoopFeed, readLoopPlan } from "../../src/cli/loop-driver.ts";
import { collectHost } from "../../src/cli/host.ts";
import { readPlacement } from "../../src/cli/plan-sources.ts";
import { LocalCluster } from "../../src/cluster/local/index.ts";
import { must } from "../../src/common/index.ts";
import { loadEngine, Tokenizer } from "../../src/engine/index.ts";
import { createLoop } from "../../src/loop/index.ts";
import { runNoodle, STORYTELLER, tempPath } from "../e2e/noodle.ts";
import { collect } from "./fake-cluster.ts";

/*
 * Two real workers that share a machine, one of them let run for half of the time: the loop asks for another plan.
 */

const never = new AbortController().signal;
const ENTRY = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const LIMIT_MS = 120_000;
/** Stopped for as long as it runs. */
const DUTY_MS = 15;

let tokenizer: Tokenizer;
beforeAll(() => {
  loadEngine();
  tokenizer = Tokenizer.open(STORYTELLER);
});
afterAll(() => tokenizer[Symbol.dispose]());

/** Lets a process run for half of the time. */
function slowDown(pid: number): () => void {
  let isStopped = false;
  const timer = setInterval(() => {
    isStopped = !isStopped;
    process.kill(pid, isStopped ? "SIGSTOP" : "SIGCONT");
  }, DUTY_MS);
  return () => {
    clearInterval(timer);
    process.kill(pid, "SIGCONT");
  };
}

it("puts another plan in force by itself once workers are not what their profiles say, and no request fails", {
  timeout: LIMIT_MS,
}, async () => {
  const profile = tempPath("profile");
  const sizes = ["--decode-rows", "1,2,4", "--prefill", "16,64", "--contexts", "0,128", "--threads", "1"];
  expect((await runNoodle(["profile", STORYTELLER, ...sizes, "--budget", "4s", "--out", profile])).code).toBe(0);
  const feed = new LoopFeed();
  const options = { model: STORYTELLER, tokenizer, workers: 2, entry: ENTRY, threads: 1, contextTokens: 256 };
  const cluster = await LocalCluster.start(
    { ...options, parallel: 2, observer: feed, inOrder: true },
    { signal: never },
  );
  const { coordinator } = cluster;
  const events: string[] = [];
  let restore = (): void => undefined;
  const ending = new AbortController();
  try {
    const profiles = ["worker-1", "worker-2"].map((name) => `${name}=${profile}`);
    const status = coordinator.status();
    const placement = await readPlacement(
      { model: STORYTELLER, status, profiles, strict: false },
      { signal: never, host: collectHost() },
    );
    const plan = must(readLoopPlan(status), "plan");
    // As in production, but for the time that a plan is left alone: a test can't wait for two minutes.
    const loop = createLoop(
      { mode: "auto", dwellMs: 0, persistMs: 1000, loadBytesPerMs: 1e6 },
      { ...placement, objective: "throughput", workload: describeWorkload(status) },
      plan,
    );
    using driver = new LoopDriver({
      coordinator,
      loop,
      epoch: plan.epoch,
      tell: ({ name, message }) => events.push(`${name}: ${message}`),
      say: () => undefined,
    });
    feed.driver = driver;
    const texts = new Set<string>();
    const request = { prompt: "Once upon a time", maxTokens: 60, ignoreEos: true };
    const talk = async (): Promise<void> => {
      while (!ending.signal.aborted) texts.add((await collect(coordinator.generate(request, never))).text);
    };
    const talking = Promise.all([talk(), talk()]);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    driver.start();
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const before = must(coordinator.status().plan, "plan");
    restore = slowDown(must(coordinator.status().stages[1]?.host_pid, "engine of the second worker"));
    const startMs = performance.now();
    while (coordinator.epoch === before.epoch && performance.now() - startMs < 30_000) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    ending.abort();
    await talking;

    expect(coordinator.epoch).toBeGreaterThan(before.epoch);
    expect(texts.size).toBe(1);
  } finally {
    ending.abort();
    restore();
    await cluster.close();
  }
});
