import { Worker } from "node:worker_threads";
import type { RenderedPrompt } from "../chat/index.ts";
import { NoodleError, resolveEntry } from "../common/index.ts";
import type { CompileTask, RenderTask } from "./compile-task.ts";
import { type PackedPrompt, unpackPrompt } from "./packed-prompt.ts";

export type ThreadTask = CompileTask | RenderTask;

export type ThreadReply =
  | { readonly value: string | PackedPrompt | null; readonly error?: never }
  | { readonly error: object };

interface Waiting {
  readonly task: ThreadTask;
  readonly resolve: (value: string | PackedPrompt | null) => void;
  readonly reject: (error: NoodleError) => void;
}

/** Tasks that wait: more is refused at once. */
const MAX_WAITING = 64;
const MAX_KEPT_CHARS = 4 * 1024 * 1024;
const IDLE_MS = 60_000;
const HEAP_MB = 256;

/**
 * Compiles schemas, grammars and long conversations beside the thread that serves everybody else, one at a time. What
 * takes longer than its budget, or more memory, ends with the thread; the next task gets another one. The thread is there
 * while it is needed. Grammars are kept, the last used ones, so that a client's schema is compiled once.
 */
export class CompileThread {
  readonly #budgetMs: number;
  readonly #waiting: Waiting[] = [];
  /** Tasks as JSON, the last used ones last. */
  readonly #kept = new Map<string, string | null>();
  #keptChars = 0;
  #worker: Worker | null = null;
  #timer: NodeJS.Timeout | undefined;

  /** @param budgetMs what one task may take, once it is its turn */
  constructor(budgetMs: number) {
    this.#budgetMs = budgetMs;
  }

  /**
   * GBNF; null for tools that need none.
   *
   * @throws GRAMMAR_INVALID, REQUEST_INVALID, QUEUE_FULL where too many wait
   */
  async compile(task: CompileTask): Promise<string | null> {
    const key = JSON.stringify(task);
    const kept = this.#kept.get(key);
    if (kept !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, kept);
      return kept;
    }
    const grammar = (await this.#run(task)) as string | null;
    this.#keep(key, grammar);
    return grammar;
  }

  /** @throws TEMPLATE_FAILED, REQUEST_INVALID, NOT_SUPPORTED, QUEUE_FULL where too many wait */
  async render(task: RenderTask): Promise<RenderedPrompt> {
    return unpackPrompt((await this.#run(task)) as PackedPrompt);
  }

  /** Ends the thread, and what waits for it. It can be used again. */
  close(): void {
    this.#end(new NoodleError("INTERRUPTED", "the server is closing"));
  }

  #keep(key: string, grammar: string | null): void {
    this.#kept.set(key, grammar);
    this.#keptChars += charsOf(key, grammar);
    for (const [oldKey, oldGrammar] of this.#kept) {
      if (this.#keptChars <= MAX_KEPT_CHARS) return;
      this.#kept.delete(oldKey);
      this.#keptChars -= charsOf(oldKey, oldGrammar);
    }
  }

  #run(task: ThreadTask): Promise<string | PackedPrompt | null> {
    if (this.#waiting.length >= MAX_WAITING) {
      const message = `${MAX_WAITING} grammars and conversations wait to be compiled already`;
      return Promise.reject(new NoodleError("QUEUE_FULL", message));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, resolve, reject });
      if (this.#waiting.length === 1) this.#startNext();
    });
  }

  #startNext(): void {
    clearTimeout(this.#timer);
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#timer = setTimeout(() => this.close(), IDLE_MS);
      this.#timer.unref();
      return;
    }
    if (this.#worker === null) this.#open();
    else this.#send(next);
  }

  #open(): void {
    const worker = new Worker(resolveEntry(import.meta.url, "./compile-thread-main"), {
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    this.#worker = worker;
    const isMine = (): boolean => this.#worker === worker;
    // Starting is not the task's time.
    worker.on("online", () => {
      const [next] = this.#waiting;
      if (isMine() && next !== undefined) this.#send(next);
    });
    worker.on("message", (reply: ThreadReply) => {
      if (isMine()) this.#take(reply);
    });
    worker.on("error", (error) => {
      if (isMine()) this.#fail(error.message);
    });
    worker.on("exit", () => {
      if (isMine()) this.#fail("its thread ended");
    });
  }

  #send({ task }: Waiting): void {
    this.#worker?.postMessage(task, []);
    this.#timer = setTimeout(() => this.#fail(`it took longer than ${this.#budgetMs} ms`), this.#budgetMs);
  }

  #take(reply: ThreadReply): void {
    const done = this.#waiting.shift();
    if (reply.error === undefined) done?.resolve((reply as { value: string | PackedPrompt | null }).value);
    else done?.reject(NoodleError.fromJSON(reply.error));
    this.#startNext();
  }

  /** The task that was running is given up with its thread; the others go on. */
  #fail(why: string): void {
    const worker = this.#worker;
    this.#worker = null;
    void worker?.terminate();
    const failed = this.#waiting.shift();
    const isRender = failed?.task.kind === "render";
    failed?.reject(
      isRender
        ? new NoodleError("TEMPLATE_FAILED", `the chat template was given up on these messages: ${why}`)
        : new NoodleError("GRAMMAR_INVALID", `the grammar was given up: ${why}`),
    );
    this.#startNext();
  }

  #end(error: NoodleError): void {
    clearTimeout(this.#timer);
    const worker = this.#worker;
    this.#worker = null;
    void worker?.terminate();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

function charsOf(key: string, grammar: string | null): number {
  return key.length + (grammar?.length ?? 0);
}
