import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { endWithUs, forget } from "./leftovers.ts";

const ENTRY = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const KEPT_CHARS = 20_000;

export interface BedWorkerOptions {
  readonly name: string;
  /** host:port of the coordinator as this worker reaches it. */
  readonly join: string;
  readonly dataDir: string;
  /** Its own port, and the one that others are told. */
  readonly listenPort: number;
  readonly advertisedPort: number;
  readonly args?: readonly string[];
}

/** A worker as a process group of its own: its supervisor, and the stage host below it. */
export class BedWorker {
  readonly options: BedWorkerOptions;
  readonly #child: ChildProcess;
  #said = "";

  constructor(options: BedWorkerOptions) {
    this.options = options;
    const { name, join, dataDir, listenPort, advertisedPort, args = [] } = options;
    const addresses = ["--listen", `127.0.0.1:${listenPort}`, "--advertise", `127.0.0.1:${advertisedPort}`];
    this.#child = spawn(
      process.execPath,
      [ENTRY, "worker", "--join", join, "--name", name, "--data", dataDir, ...addresses, ...args],
      { stdio: ["ignore", "ignore", "pipe"], detached: true },
    );
    endWithUs(this.#child, "group");
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#said = (this.#said + text).slice(-KEPT_CHARS);
    });
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What it wrote to stderr, the end of it. */
  get said(): string {
    return this.#said;
  }

  /** To supervisor and stage host, or to one process of them. */
  signal(signal: NodeJS.Signals, pid?: number): void {
    const group = this.#child.pid;
    if (group === undefined) return;
    try {
      process.kill(pid ?? -group, signal);
    } catch (error) {
      // Nobody is left in the group.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  /** Afterwards nothing of it runs. */
  async kill(): Promise<void> {
    const exited = this.isRunning ? once(this.#child, "exit") : null;
    this.signal("SIGKILL");
    await exited;
    forget(this.#child);
  }
}
