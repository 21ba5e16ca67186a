import { type ChildProcess, fork } from "node:child_process";
import { toBinary } from "@bufbuild/protobuf";
import { BusyWindow, NoodleError, resolveEntry } from "../../common/index.ts";
import { type Capabilities, CapabilitiesSchema } from "../../protocol/index.ts";
import type { HostAssignment, HostCommand, HostEvent, HostSecurity, HostStart, LoadedStage } from "./host-messages.ts";
import { LineRing } from "./line-ring.ts";

const STDERR_LINES = 200;
const CAUSE_LINES = 8;
const SHUTDOWN_MS = 3000;
const BUSY_MS = 5000;

export type HostListening = Extract<HostEvent, { type: "listening" }>;
export type HostStats = Omit<Extract<HostEvent, { type: "stats" }>, "type">;

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: NoodleError) => void;
}

/** A stage host, wherever it runs. */
export type HostHandle = Pick<HostProcess, keyof HostProcess>;

/** The stage host as a child process. */
export class HostProcess {
  /** Settles when the process has ended: with its cause, or with nothing after `close`. */
  readonly exited: Promise<NoodleError | undefined>;
  /** Its last words about itself; null before the first. */
  stats: HostStats | null = null;
  readonly #busy = new BusyWindow(BUSY_MS);
  readonly #child: ChildProcess;
  readonly #stderr = new LineRing(STDERR_LINES);
  readonly #onObservation: (message: Uint8Array) => void;
  #starting: Waiting<HostListening> | undefined;
  #loading: (Waiting<LoadedStage> & { readonly epoch: number }) | undefined;
  #failure: NoodleError | undefined;
  #closing = false;

  /** @param onObservation takes an encoded `WorkerMessage` that is meant for the coordinator */
  constructor(onObservation: (message: Uint8Array) => void) {
    this.#onObservation = onObservation;
    this.#child = fork(resolveEntry(import.meta.url, "./host-main"), {
      // Neither the parent's environment nor its node options: no secrets, no loaders.
      env: {},
      execArgv: [],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => this.#stderr.push(text));
    this.#child.on("message", (event) => this.#take(event as HostEvent));
    this.exited = new Promise((resolve) => {
      // "close" comes when stderr is read to its end too; "error" when there never was a process.
      this.#child.once("close", (code, signal) => resolve(this.#end(code, signal)));
      this.#child.once("error", (error) => resolve(this.#end(null, null, error)));
    });
  }

  /** Share of the last seconds that its engine computed; null before it is known. */
  get busyShare(): number | null {
    return this.#busy.share;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** @throws ENGINE_NOT_FOUND and the like, PORT_IN_USE; ENGINE_ABORTED when the process dies meanwhile */
  start(options: HostStart): Promise<HostListening> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#starting = { resolve, reject };
      this.#tell({ type: "start", ...options });
    });
  }

  /** One load at a time. @throws the engine's errors; ENGINE_ABORTED when the process dies meanwhile */
  load(assignment: HostAssignment): Promise<LoadedStage> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#loading = { epoch: assignment.epoch, resolve, reject };
      this.#tell({ type: "load", assignment });
    });
  }

  setCapabilities(capabilities: Capabilities): void {
    this.#tell({ type: "capabilities", bytes: toBinary(CapabilitiesSchema, capabilities) });
  }

  secure(security: HostSecurity): void {
    this.#tell({ type: "security", security });
  }

  retire(epoch: number): void {
    this.#tell({ type: "retire", epoch });
  }

  /** Ends the process, by force when it takes too long. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#tell({ type: "shutdown" });
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), SHUTDOWN_MS);
    await this.exited;
    clearTimeout(timer);
  }

  #tell(command: HostCommand): void {
    if (!this.#child.connected) return;
    // An error means that the process has just died; its end tells everybody.
    this.#child.send(command, () => undefined);
  }

  #take(event: HostEvent): void {
    switch (event.type) {
      case "listening":
        return this.#starting?.resolve(event);
      case "startFailed":
        return this.#starting?.reject(NoodleError.fromJSON(event.error));
      case "loaded":
        if (this.#loading?.epoch === event.epoch) this.#loading.resolve(event);
        return;
      case "loadFailed":
        if (this.#loading?.epoch === event.epoch) this.#loading.reject(NoodleError.fromJSON(event.error));
        return;
      case "stats":
        this.stats = event;
        this.#busy.push(event.engine);
        return;
      case "observation":
        this.#onObservation(event.message);
        return;
    }
  }

  #end(code: number | null, signal: NodeJS.Signals | null, cause?: Error): NoodleError | undefined {
    const how = cause === undefined ? (signal ?? `exit code ${code}`) : cause.message;
    const stderr = this.#stderr.tail(CAUSE_LINES);
    const words = stderr.length === 0 ? "" : `: ${stderr.join(" | ")}`;
    const error = new NoodleError("ENGINE_ABORTED", `the engine process ${this.pid} died of ${how}${words}`, {
      details: { signal, exitCode: code, stderr },
      cause,
    });
    this.#failure = error;
    this.#starting?.reject(error);
    this.#loading?.reject(error);
    return this.#closing ? undefined : error;
  }
}
