import { Worker } from "node:worker_threads";
import { resolveEntry } from "../../common/index.ts";
import type { LinearGoal, LinearResult, LinearSolver } from "../cover.ts";
import type { HighsReply, HighsRequest } from "./messages.ts";

/** The solver ends by itself when its time is up; one that does not is ended after this. */
const GRACE_MS = 2_000;
const UNDECIDED: LinearResult = { status: "undecided", values: new Map() };

/** The HiGHS solver on a thread of its own, which starts with the first program. The caller closes it. */
export function openHighs(): LinearSolver {
  return new HighsSolver();
}

class HighsSolver implements LinearSolver {
  #worker: Worker | null = null;
  #nextId = 1;
  #hasFailed = false;

  async solve(lpText: string, timeLimitMs: number, goal: LinearGoal): Promise<LinearResult> {
    if (this.#hasFailed || timeLimitMs <= 0) return UNDECIDED;
    const worker = (this.#worker ??= this.#start());
    const timeLimitS = Math.min(timeLimitMs, 1e9) / 1000;
    const request: HighsRequest = { id: this.#nextId++, lpText, timeLimitS, firstOnly: goal === "any" };
    const reply = await ask(worker, request, timeLimitMs + GRACE_MS);
    if (reply === null) {
      this.#hasFailed = true;
      await this.close();
      return UNDECIDED;
    }
    return { status: reply.status, values: new Map(reply.values) };
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(resolveEntry(import.meta.url, "./highs-thread"));
    // A thread that cannot start leaves the planner without this solver, not without a plan.
    worker.on("error", () => {
      this.#hasFailed = true;
    });
    worker.unref();
    return worker;
  }
}

/** Null when the thread ends or does not answer in time. */
async function ask(worker: Worker, request: HighsRequest, limitMs: number): Promise<HighsReply | null> {
  return await new Promise((resolve) => {
    const finish = (reply: HighsReply | null): void => {
      clearTimeout(timer);
      worker.off("message", onMessage);
      worker.off("exit", onExit);
      worker.off("error", onExit);
      worker.unref();
      resolve(reply);
    };
    const onMessage = (reply: HighsReply): void => {
      if (reply.id === request.id) finish(reply);
    };
    const onExit = (): void => finish(null);
    const timer = setTimeout(onExit, Math.min(limitMs, 2 ** 31 - 1));
    worker.on("message", onMessage);
    worker.on("exit", onExit);
    worker.on("error", onExit);
    worker.ref();
    worker.postMessage(request, []);
  });
}
