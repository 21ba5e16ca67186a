import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readEvents } from "../../src/api/testing.ts";
import type { StatusDocument } from "../../src/cluster/coordinator/index.ts";
import { NoodleError } from "../../src/common/index.ts";
import { endWithUs } from "./leftovers.ts";
import { findFreePort } from "./ports.ts";
import { BedWorker } from "./worker.ts";

const ENTRY = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const READY_MS = 120_000;
const POLL_MS = 5;
const KEPT_CHARS = 50_000;

export interface ServedOptions {
  readonly model: string;
  /** @default 3 */
  readonly workers?: number;
  /** Further arguments of `noodle coordinator`. */
  readonly args?: readonly string[];
  /** Where the coordinator keeps its state. @default a folder of the bed */
  readonly dataDir?: string;
}

/** A coordinator with its API as a process, and workers: what a user runs. */
export class Served {
  readonly workers: BedWorker[] = [];
  readonly dataDir: string;
  readonly #options: ServedOptions;
  readonly #root: string;
  readonly #http: number;
  readonly #grpc: number;
  readonly #others: ChildProcess[] = [];
  #child: ChildProcess | null = null;
  #said = "";

  static async start(options: ServedOptions): Promise<Served> {
    const root = await mkdtemp(join(tmpdir(), "noodle-served-"));
    const served = new Served(options, root, await findFreePort(), await findFreePort());
    try {
      await mkdir(served.dataDir, { recursive: true });
      served.startCoordinator();
      for (let index = 0; index < (options.workers ?? 3); index++) {
        const port = await findFreePort();
        const place = { listenPort: port, advertisedPort: port, dataDir: join(root, "workers") };
        served.workers.push(new BedWorker({ name: `w${index + 1}`, join: `127.0.0.1:${served.#grpc}`, ...place }));
      }
      await served.untilReady();
      return served;
    } catch (error) {
      await served.close();
      throw error;
    }
  }

  private constructor(options: ServedOptions, root: string, http: number, grpc: number) {
    this.#options = options;
    this.#root = root;
    this.dataDir = options.dataDir ?? join(root, "coordinator");
    this.#http = http;
    this.#grpc = grpc;
  }

  /** What the coordinators have written, the end of it. */
  get said(): string {
    return this.#said;
  }

  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#http}`;
  }

  get grpcAddress(): string {
    return `127.0.0.1:${this.#grpc}`;
  }

  /** Runs another command of `noodle` and gives its exit code; null when it was killed. */
  async run(args: readonly string[]): Promise<number | null> {
    const child = this.#spawn(args);
    await once(child, "exit");
    return child.exitCode;
  }

  /** Starts workers again that are gone. */
  reviveWorkers(): void {
    for (const [index, worker] of this.workers.entries()) {
      if (worker.isRunning) continue;
      void worker.kill();
      this.workers[index] = new BedWorker(worker.options);
    }
  }

  /** Starts it, or starts it again; the one before stays as it is. */
  startCoordinator(): void {
    const { model, workers = 3, args = [] } = this.#options;
    const ports = ["--port", String(this.#http), "--grpc-port", String(this.#grpc)];
    const sizes = ["--expect", String(workers), "--threads", "1"];
    this.#child = this.#spawn(["coordinator", model, ...sizes, ...ports, "--data", this.dataDir, ...args]);
  }

  /** A second one on the same state, at another address. */
  startRival(): ChildProcess {
    const { model, workers = 3, args = [] } = this.#options;
    const ports = ["--host", "127.0.0.2", "--port", String(this.#http), "--grpc-port", String(this.#grpc)];
    const sizes = ["--expect", String(workers), "--threads", "1"];
    return this.#spawn(["coordinator", model, ...sizes, ...ports, "--data", this.dataDir, ...args]);
  }

  async killCoordinator(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === null || !this.isRunning) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  /** Posts a body and gives the response; null where nobody listens. */
  async post(
    path: string,
    body: object,
    headers: Record<string, string> = {},
    signal?: AbortSignal,
  ): Promise<Response | null> {
    return fetch(`http://127.0.0.1:${this.#http}/v1/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    }).catch(() => null);
  }

  /** What `GET /v1/status` says. */
  async status(): Promise<StatusDocument | null> {
    const response = await this.get("/v1/status");
    return response?.status === 200 ? ((await response.json()) as StatusDocument) : null;
  }

  async get(path: string): Promise<Response | null> {
    return fetch(`http://127.0.0.1:${this.#http}${path}`, { signal: AbortSignal.timeout(2000) }).catch(() => null);
  }

  /** Asks until the answer is the wanted one. */
  async until<T>(what: string, limitMs: number, ask: () => Promise<T | null>): Promise<T> {
    const endMs = performance.now() + limitMs;
    for (;;) {
      const answer = await ask();
      if (answer !== null) return answer;
      if (performance.now() > endMs) {
        throw new NoodleError("TIMED_OUT", `${what}: not within ${limitMs} ms; ${this.#said.slice(-500)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Steps can run. */
  async untilReady(): Promise<void> {
    await this.until("ready", READY_MS, async () => ((await this.get("/ready"))?.status === 200 ? true : null));
  }

  async close(): Promise<void> {
    for (const child of this.#others) if (child.exitCode === null) child.kill("SIGKILL");
    await Promise.all(this.workers.splice(0).map((worker) => worker.kill()));
    await rm(this.#root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #spawn(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [ENTRY, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    const take = (text: string): void => {
      this.#said = (this.#said + text).slice(-KEPT_CHARS);
    };
    child.stdout.setEncoding("utf8").on("data", take);
    child.stderr.setEncoding("utf8").on("data", take);
    endWithUs(child, "process");
    this.#others.push(child);
    return child;
  }
}

/** An event of a stream, and when it came. */
export interface StreamEvent {
  readonly id: string;
  readonly data: string;
  readonly atMs: number;
}

/** Reads an event stream until it, or its server, ends. What is cut off in the middle of an event is left out. */
export async function readStream(response: Response, onEvent: () => void = () => undefined): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const bytes of response.body ?? []) {
      text += decoder.decode(bytes as Uint8Array, { stream: true });
      const end = text.lastIndexOf("\n\n") + 2;
      if (end < 2) continue;
      for (const { id, data } of readEvents(text.slice(0, end))) {
        events.push({ id: id ?? "", data, atMs: performance.now() });
        onEvent();
      }
      text = text.slice(end);
    }
  } catch {
    // The server was killed.
  }
  return events;
}

/** What completions said, by choice. */
export function readTexts(events: readonly StreamEvent[]): readonly string[] {
  const texts: string[] = [];
  for (const { data } of events) {
    if (!data.startsWith("{")) continue;
    const { choices = [] } = JSON.parse(data) as { choices?: { index: number; text?: string }[] };
    for (const { index, text = "" } of choices) texts[index] = (texts[index] ?? "") + text;
  }
  return texts;
}

/** Ids in order, none lost, none doubled: an id counts the events of each choice. */
export function areNext(events: readonly StreamEvent[]): boolean {
  return events.every(({ id }, index) => {
    const counts = (id.split(":")[1] ?? "").split(".").map(Number);
    return counts.reduce((sum, count) => sum + count, 0) === index + 1;
  });
}
