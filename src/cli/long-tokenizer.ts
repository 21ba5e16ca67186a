import { Worker } from "node:worker_threads";
import { NoodleError, resolveEntry } from "../common/index.ts";
import type { LoadOptions } from "../engine/index.ts";

export interface LongTokenizeOptions {
  readonly addSpecial: boolean;
  readonly parseSpecial: boolean;
}

/** What the thread is started with. */
export interface TokenizerData {
  /** Of the model's file. */
  readonly path: string;
  /** As this process has loaded its engine. */
  readonly engine: LoadOptions;
}

export interface TokenizerRequest {
  readonly id: number;
  readonly text: string;
  readonly options: LongTokenizeOptions;
}

export type TokenizerReply =
  | { readonly id: number; readonly tokens: Int32Array }
  | { readonly id: number; readonly error: object };

interface Waiting {
  readonly resolve: (tokens: Int32Array) => void;
  readonly reject: (error: NoodleError) => void;
}

/** Texts that wait: more is refused at once. */
const MAX_WAITING = 64;
const IDLE_MS = 60_000;

/**
 * A tokenizer on a thread of its own, for texts so long that tokenizing them would hold up everybody else. The thread is
 * there while it is needed: the vocabulary takes as much memory again.
 */
export class LongTokenizer {
  readonly #data: TokenizerData;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | null = null;
  #idle: NodeJS.Timeout | undefined;
  #nextId = 0;

  constructor(data: TokenizerData) {
    this.#data = data;
  }

  /** @throws NoodleError `QUEUE_FULL` where too many wait, `ENGINE_FAILED` */
  tokenize(text: string, options: LongTokenizeOptions): Promise<Int32Array> {
    if (this.#waiting.size >= MAX_WAITING) {
      const message = `${MAX_WAITING} long texts wait to be tokenized already`;
      return Promise.reject(new NoodleError("QUEUE_FULL", message));
    }
    const worker = this.#open();
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      worker.postMessage({ id, text, options } satisfies TokenizerRequest, []);
    });
  }

  close(): void {
    this.#end(new NoodleError("INTERRUPTED", "the tokenizer is closing"));
  }

  #open(): Worker {
    clearTimeout(this.#idle);
    if (this.#worker !== null) return this.#worker;
    const worker = new Worker(resolveEntry(import.meta.url, "./long-tokenizer-main"), {
      workerData: this.#data,
    });
    const isMine = (): boolean => this.#worker === worker;
    worker.on("message", (reply: TokenizerReply) => this.#take(reply));
    worker.on("error", (error) => {
      if (isMine()) this.#end(NoodleError.from(error, "ENGINE_FAILED"));
    });
    worker.on("exit", () => {
      if (isMine()) this.#end(new NoodleError("ENGINE_FAILED", "the thread of the tokenizer ended"));
    });
    this.#worker = worker;
    return worker;
  }

  #take(reply: TokenizerReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if ("tokens" in reply) waiting?.resolve(reply.tokens);
    else waiting?.reject(NoodleError.fromJSON(reply.error));
    if (this.#waiting.size > 0) return;
    this.#idle = setTimeout(() => this.close(), IDLE_MS);
    this.#idle.unref();
  }

  #end(error: NoodleError): void {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = null;
    void worker?.terminate();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
