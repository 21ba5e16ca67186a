import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { must, NoodleError, resolveEntry } from "../../common/index.ts";
import type { LoadedEngine, KvLayer, SamplingParams, SlotStart, StageConfig, StageInfo } from "../../engine/index.ts";
import type {
  EngineCall,
  EngineChoice,
  EngineReply,
  EngineRequest,
  ForwardOutput,
  ForwardRequest,
} from "./engine-messages.ts";

/** An engine behind a queue: calls are answered in order, none blocks the caller's thread. */
export interface AsyncEngine {
  /** Loads the library and no model; the first call. */
  start(choice: EngineChoice): Promise<LoadedEngine>;
  /** Replaces the loaded stage. @throws ENGINE_LOAD_FAILED and the errors of the stage's file */
  load(config: StageConfig): Promise<StageInfo>;
  /** JSON of the row-class probe of the loaded stage; empty where the engine has no classes. */
  probe(): Promise<string>;
  openSlot(slot: number, sampling: SamplingParams, start?: SlotStart): Promise<void>;
  /** @returns positions that the slot keeps */
  closeSlot(slot: number, keep: boolean): Promise<number>;
  /** The buffers of `input.hidden` and `input.tokens` are moved: the caller may not read them afterwards. */
  forward(request: ForwardRequest): Promise<ForwardOutput>;
  readKv(slot: number): Promise<readonly KvLayer[]>;
  canary(): Promise<string>;
  close(): Promise<void>;
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: NoodleError) => void;
}

/** The engine thread, as promises. */
export class StageThread implements AsyncEngine {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #signal: Int32Array;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #nextId = 1;
  #failure: NoodleError | undefined;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    const signal = new SharedArrayBuffer(4);
    this.#port = port1;
    this.#signal = new Int32Array(signal);
    this.#worker = new Worker(resolveEntry(import.meta.url, "./engine-thread"), {
      workerData: { port: port2, signal },
      transferList: [port2],
    });
    port1.on("message", (reply: EngineReply) => this.#settle(reply));
    this.#worker.on("error", (error) => this.#fail(NoodleError.from(error, "ENGINE_FAILED")));
    this.#exited = new Promise((resolve) => {
      this.#worker.on("exit", () => {
        this.#fail(new NoodleError("ILLEGAL_STATE", "the engine thread has ended"));
        resolve();
      });
    });
  }

  async start(choice: EngineChoice): Promise<LoadedEngine> {
    return (await this.#ask({ type: "start", choice })) as LoadedEngine;
  }

  async load(config: StageConfig): Promise<StageInfo> {
    return (await this.#ask({ type: "load", config })) as StageInfo;
  }

  async probe(): Promise<string> {
    return (await this.#ask({ type: "probe" })) as string;
  }

  async openSlot(slot: number, sampling: SamplingParams, start: SlotStart = {}): Promise<void> {
    await this.#ask({ type: "openSlot", slot, sampling, start });
  }

  async closeSlot(slot: number, keep: boolean): Promise<number> {
    return (await this.#ask({ type: "closeSlot", slot, keep })) as number;
  }

  async forward(request: ForwardRequest): Promise<ForwardOutput> {
    const { hidden, tokens } = request.input;
    const moved = [tokens, hidden].flatMap((values) => (values?.buffer instanceof ArrayBuffer ? [values.buffer] : []));
    return (await this.#ask({ type: "forward", ...request }, moved)) as ForwardOutput;
  }

  async readKv(slot: number): Promise<readonly KvLayer[]> {
    return (await this.#ask({ type: "readKv", slot })) as readonly KvLayer[];
  }

  async canary(): Promise<string> {
    return (await this.#ask({ type: "canary" })) as string;
  }

  /** Ends the thread after the calls before it. Closing twice is safe. */
  async close(): Promise<void> {
    if (this.#failure === undefined) await this.#ask({ type: "close" }).catch(() => undefined);
    await this.#exited;
    this.#port.close();
  }

  #ask(call: EngineCall, moved: readonly ArrayBuffer[] = []): Promise<unknown> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#port.postMessage({ id, call } satisfies EngineRequest, [...moved]);
      Atomics.add(this.#signal, 0, 1);
      Atomics.notify(this.#signal, 0);
    });
  }

  #settle(reply: EngineReply): void {
    const pending = must(this.#pending.get(reply.id), "engine call");
    this.#pending.delete(reply.id);
    if (reply.ok) pending.resolve(reply.value);
    else pending.reject(NoodleError.fromJSON(reply.error));
  }

  #fail(error: NoodleError): void {
    this.#failure ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#failure);
    this.#pending.clear();
  }
}
