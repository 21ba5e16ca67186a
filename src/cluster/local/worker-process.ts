import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { NoodleError } from "../../common/index.ts";

export interface WorkerProcessOptions {
  /** Compiled entry of the `noodle` command. */
  readonly entry: string;
  /** Of the command, beginning with `worker`. */
  readonly args: readonly string[];
  /** How errors name it. */
  readonly name: string;
  /** @default that of this process */
  readonly env?: NodeJS.ProcessEnv;
  readonly onStderrLine?: (line: string) => void;
}

export interface WorkerExit {
  /** null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Lines of the worker's stderr that an error can show. */
const KEPT_LINES = 20;
const KEPT_LINE_CHARS = 500;

/**
 * A worker as a child process. It leads a process group of its own: the terminal's Ctrl-C reaches only this process,
 * which ends its workers in order, and a stage host that lost its supervisor is ended with the group.
 */
export class WorkerProcess {
  readonly name: string;
  /** Settles when the process has ended, and never rejects. */
  readonly exited: Promise<WorkerExit>;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  #exit: WorkerExit | null = null;
  #failure: Error | null = null;

  constructor(options: WorkerProcessOptions) {
    this.name = options.name;
    this.#child = spawn(process.execPath, [options.entry, ...options.args], {
      stdio: ["ignore", "ignore", "pipe"],
      detached: true,
      ...(options.env === undefined ? {} : { env: options.env }),
    });
    if (this.#child.stderr !== null) {
      createInterface({ input: this.#child.stderr }).on("line", (line) => {
        this.#lines.push(line.slice(0, KEPT_LINE_CHARS));
        if (this.#lines.length > KEPT_LINES) this.#lines.shift();
        options.onStderrLine?.(line);
      });
    }
    this.exited = new Promise((resolve) => {
      const settle = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.#exit ??= { code, signal };
        resolve(this.#exit);
      };
      this.#child.once("error", (error) => {
        this.#failure = error;
        // Without a process id there is no process whose end could be waited for.
        if (this.#child.pid === undefined) settle(null, null);
      });
      // `close` comes behind the last line of stderr.
      this.#child.once("close", settle);
    });
  }

  /** Of the supervisor; undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#exit === null;
  }

  /** The last lines of its stderr. */
  get lastLines(): readonly string[] {
    return this.#lines;
  }

  /** Why it is gone, as an error for whoever needed it. */
  describeExit(exit: WorkerExit): NoodleError {
    const { name } = this;
    const how =
      this.#failure !== null
        ? `could not be started: ${this.#failure.message}`
        : `ended ${exit.signal === null ? `with exit code ${exit.code}` : `by ${exit.signal}`}`;
    const said = this.#lines.length === 0 ? "; it said nothing" : `; its last words:\n${this.#lines.join("\n")}`;
    return new NoodleError("PEER_DEAD", `worker ${name} ${how}${said}`, {
      details: { nodeId: name, exitCode: exit.code, signal: exit.signal, lastLines: [...this.#lines] },
    });
  }

  /** Asks it to end, insists after `graceMs`. Afterwards neither it nor its stage host is running. */
  async stop(graceMs: number): Promise<void> {
    if (this.running) this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#killGroup(), graceMs);
    const exit = await this.exited;
    clearTimeout(timer);
    if (exit.code !== 0) this.#killGroup();
  }

  #killGroup(): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch (error) {
      // Nobody is left in the group.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}
