import { must } from "../src/common/index.ts";
import { EvalObserver } from "../src/engine/eval-observer.ts";
import { type Library, loadLibrary, type Pointer } from "../src/engine/native/index.ts";

export interface LoopSpeed {
  readonly prefillTokensPerSec: number;
  readonly decodeTokensPerSec: number;
}

/** The least that runs a model: one model, one context with the library's defaults, greedy sampling, no stages. */
export class BareLoop {
  readonly #library: Library;
  readonly #model: Pointer;
  readonly #ctx: Pointer;
  readonly #sampler: Pointer;
  readonly #observer: EvalObserver | undefined;

  constructor(
    path: string,
    options: { readonly threads: number; readonly contextTokens: number; readonly capture?: boolean },
  ) {
    this.#library = loadLibrary();
    const { calls } = this.#library;
    this.#model = must(calls.llama_model_load_from_file(path, calls.llama_model_default_params()), path);
    // A block that no model has: the callback looks at every node and never finds its own.
    const nowhere = { units: { first: 0, end: 1 }, unitCount: 3, hasHead: false, fileBlocks: 10_000, nEmbd: 1 };
    this.#observer = options.capture === true ? new EvalObserver(this.#library, nowhere, undefined) : undefined;
    const params = {
      ...calls.llama_context_default_params(),
      n_ctx: options.contextTokens,
      n_threads: options.threads,
      n_threads_batch: options.threads,
      cb_eval: this.#observer?.address ?? null,
    };
    this.#ctx = must(calls.llama_init_from_model(this.#model, params), "context");
    this.#sampler = calls.llama_sampler_init_greedy();
  }

  /** @returns tokens per second of the prompt and of `count` tokens behind it. */
  run(promptTokens: Int32Array, count: number): LoopSpeed {
    const start = performance.now();
    let token = this.begin(promptTokens);
    const first = performance.now();
    for (let i = 1; i < count; i++) token = this.step(Int32Array.of(token));
    const end = performance.now();
    return {
      prefillTokensPerSec: promptTokens.length / ((first - start) / 1000),
      decodeTokensPerSec: (count - 1) / ((end - first) / 1000),
    };
  }

  /** Forgets what was, runs the prompt. @returns the first token */
  begin(promptTokens: Int32Array): number {
    const { calls } = this.#library;
    calls.llama_memory_clear(must(calls.llama_get_memory(this.#ctx), "memory"), true);
    return this.step(promptTokens);
  }

  close(): void {
    const { calls } = this.#library;
    calls.llama_sampler_free(this.#sampler);
    calls.llama_free(this.#ctx);
    calls.llama_model_free(this.#model);
    this.#observer?.close();
  }

  /** @returns the next token */
  step(tokens: Int32Array): number {
    const { calls } = this.#library;
    // Without positions, ids and flags the library continues sequence 0 and outputs the last row.
    const rc = calls.llama_decode(this.#ctx, {
      n_tokens: tokens.length,
      token: tokens,
      embd: null,
      pos: null,
      n_seq_id: null,
      seq_id: null,
      logits: null,
    });
    if (rc !== 0) throw new Error(`llama_decode: ${rc}`);
    return calls.llama_sampler_sample(this.#sampler, this.#ctx, -1);
  }
}
