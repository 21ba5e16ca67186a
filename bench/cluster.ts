import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { GenerateEvent, StatusDocument } from "../src/cluster/coordinator/index.ts";
import { LocalCluster, type LocalClusterOptions } from "../src/cluster/local/index.ts";
import { Tokenizer } from "../src/engine/index.ts";

export const NOODLE_ENTRY = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

export type Done = Extract<GenerateEvent, { type: "done" }>;

/** A cluster of real worker processes on this machine, with a data folder that lives as long as the bench. */
export class BenchCluster {
  readonly cluster: LocalCluster;
  readonly #tokenizer: Tokenizer;
  readonly #dataDir: string | null;

  private constructor(cluster: LocalCluster, tokenizer: Tokenizer, dataDir: string | null) {
    this.cluster = cluster;
    this.#tokenizer = tokenizer;
    this.#dataDir = dataDir;
  }

  static async start(
    model: string,
    options: Pick<
      LocalClusterOptions,
      "workers" | "threads" | "contextTokens" | "parallel" | "split" | "dataDir" | "hooks" | "observer" | "sampleEvery"
    >,
  ): Promise<BenchCluster> {
    const tokenizer = Tokenizer.open(model);
    const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), "noodle-bench-")));
    const cluster = await LocalCluster.start(
      { model, tokenizer, entry: NOODLE_ENTRY, prefillRows: 512, ...options, dataDir },
      { signal: new AbortController().signal },
    );
    return new BenchCluster(cluster, tokenizer, options.dataDir === undefined ? dataDir : null);
  }

  async generate(prompt: Int32Array, maxTokens: number): Promise<Done> {
    const events = this.cluster.coordinator.generate(
      { prompt: [...prompt], maxTokens, ignoreEos: true },
      new AbortController().signal,
    );
    for await (const event of events) if (event.type === "done") return event;
    throw new Error("the generation ended without a summary");
  }

  /** Resident bytes of each worker, both of its processes. */
  workerRssBytes(): readonly number[] {
    return this.cluster.coordinator.status().nodes.map((node) => node.rss_bytes);
  }

  async close(): Promise<void> {
    await this.cluster.close();
    this.#tokenizer.close();
    if (this.#dataDir !== null) await rm(this.#dataDir, { recursive: true, force: true });
  }
}

/** `noodle up` as a user starts it. */
export class UpCommand {
  /** From the start of the command until it says that it is ready. */
  readonly readyMs: number;
  readonly #child: ChildProcess;
  readonly #address: string;

  private constructor(child: ChildProcess, address: string, readyMs: number) {
    this.#child = child;
    this.#address = address;
    this.readyMs = readyMs;
  }

  static async start(model: string, workers: number, dataDir: string): Promise<UpCommand> {
    const [http, grpc] = [await findFreePort(), await findFreePort()];
    const ports = ["--port", String(http), "--grpc-port", String(grpc)];
    const sizes = ["--workers", String(workers), "--threads", "1", "--context", "1024", "--parallel", "4"];
    const startMs = performance.now();
    const child = spawn(process.execPath, [NOODLE_ENTRY, "up", model, ...sizes, ...ports, "--data", dataDir]);
    let text = "";
    const ready = new Promise<boolean>((resolve) => {
      child.stdout.on("data", (chunk: Buffer) => {
        text += String(chunk);
        if (text.includes("ready:")) resolve(true);
      });
      child.once("exit", () => resolve(false));
    });
    child.stderr.on("data", (chunk: Buffer) => {
      if (chunk.includes("noodle: ")) process.stderr.write(chunk);
    });
    if (!(await ready)) throw new Error("noodle up ended before it was ready");
    return new UpCommand(child, `127.0.0.1:${grpc}`, performance.now() - startMs);
  }

  /** Runs a command of the client's side against the cluster. */
  async ask(command: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(process.execPath, [
      NOODLE_ENTRY,
      command,
      "--coordinator",
      this.#address,
      ...args,
    ]);
    return stdout;
  }

  async status(): Promise<StatusDocument> {
    return JSON.parse(await this.ask("status", "--json")) as StatusDocument;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill("SIGINT");
    await once(this.#child, "exit");
  }
}

export async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
