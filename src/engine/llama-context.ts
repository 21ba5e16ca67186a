import { NoodleError } from "../common/index.ts";
import type { EngineCall, EvalObserver } from "./eval-observer.ts";
import { type Library, loadLibrary, type Pointer, readAddress, type StructValue, viewFloats } from "./native/index.ts";
import type { StageFacts } from "./stage-facts.ts";
import { readDataSegmentBytes } from "./process-memory.ts";
import { acquireThreadpool, releaseThreadpool } from "./threadpool.ts";
import type { StageConfig } from "./types.ts";

/** `llama_load_mode`: read weights into buffers. A mapped file would stay resident beside the repacked copy. */
const LOAD_MODE_NONE = 0;

/** Rows of a `llama_batch`, in buffers that live as long as the context. */
export interface BatchRows {
  readonly rows: number;
  readonly tokens: Int32Array;
  /** f32[rows, nEmbd]; empty when the batch carries tokens. */
  readonly embd: Float32Array;
  set(row: number, position: number, sequence: number, isOutput: boolean): void;
  readonly native: StructValue;
}

/** A model and its context in libllama: owns both, and the buffers that cross the border. */
export class LlamaContext {
  readonly library: Library;
  readonly pointer: Pointer;
  readonly nVocab: number;
  readonly weightsBytes: number;
  /** What loading allocated beyond weights and KV: graph, activation and output buffers, vocabulary. 0 where the system does not tell. */
  readonly computeBufferBytes: number;
  readonly vocab: Pointer;
  /** Positions can be dropped from the end: not so in a recurrent model, whose state has no positions. */
  readonly canRewind: boolean;
  readonly maxRows: number;
  /** Tokens of context per sequence that KV cells were made for: the engine rounds up to 256. */
  readonly contextTokens: number;
  readonly observer: EvalObserver | undefined;
  /** `copyStream` was called and nothing decoded since: what `readState` reads is not yet there. */
  hasPendingCopy = false;
  readonly #model: Pointer;
  readonly #memory: Pointer;
  readonly #threads: number;
  readonly #buffers: ReturnType<typeof createBuffers>;
  #closed = false;
  /** Hooks run inside a decode: what they may not do is told from this. */
  #decoding = false;

  constructor(config: StageConfig, facts: StageFacts, createObserver: (library: Library) => EvalObserver | undefined) {
    this.library = loadLibrary();
    const { calls } = this.library;
    const maxRows = config.maxRows ?? 512;
    this.maxRows = maxRows;
    const dataBefore = readDataSegmentBytes();
    const model = calls.llama_model_load_from_file(config.stageFile, {
      ...calls.llama_model_default_params(),
      load_mode: LOAD_MODE_NONE,
    });
    if (model === null)
      throw new NoodleError(
        "ENGINE_LOAD_FAILED",
        `the engine refuses ${config.stageFile} (its own words are on stderr of the stage host)`,
      );
    this.#model = model;
    this.observer = createObserver(this.library);
    // The head alone computes every call from scratch: it needs cells for one call only.
    const contextTokens = facts.headOnly ? maxRows : config.contextTokens;
    const sequences = facts.headOnly ? 1 : config.parallel;
    const pointer = calls.llama_init_from_model(model, {
      ...calls.llama_context_default_params(),
      n_ctx: roundUp(contextTokens, 256) * sequences,
      n_batch: maxRows,
      n_ubatch: maxRows,
      n_seq_max: sequences,
      // Room for the logits of every row, which the library reserves and does not touch before they are asked for;
      // beyond it, it ends the process.
      n_outputs_max: maxRows,
      n_threads: config.threads,
      n_threads_batch: config.threads,
      kv_unified: false,
      // A sliding-window layer that keeps its window alone could not be rolled back.
      swa_full: true,
      cb_eval: this.observer?.address ?? null,
    });
    const dataAfter = readDataSegmentBytes();
    if (pointer === null) {
      this.observer?.close();
      calls.llama_model_free(model);
      throw new NoodleError(
        "ENGINE_LOAD_FAILED",
        `the engine can not make a context of ${config.parallel} x ${config.contextTokens} tokens for ${config.stageFile} (--context, --parallel)`,
      );
    }
    this.pointer = pointer;
    this.#threads = config.threads;
    const pool = acquireThreadpool(this.library, config.threads);
    calls.llama_attach_threadpool(pointer, pool, pool);
    const memory = calls.llama_get_memory(pointer);
    if (memory === null) throw new NoodleError("ENGINE_LOAD_FAILED", `${config.stageFile} has no KV cache`);
    this.#memory = memory;
    this.vocab = calls.llama_model_get_vocab(model);
    this.nVocab = calls.llama_vocab_n_tokens(this.vocab);
    this.canRewind = !calls.llama_model_is_recurrent(model) && !calls.llama_model_is_hybrid(model);
    this.weightsBytes = Number(calls.llama_model_size(model));
    this.contextTokens = roundUp(config.contextTokens, 256);
    this.computeBufferBytes = Math.max(
      0,
      dataAfter - dataBefore - this.weightsBytes - facts.kvBytesPerToken * this.contextTokens * config.parallel,
    );
    this.#buffers = createBuffers(maxRows, facts.nEmbd);
  }

  /** A batch of `rows` rows of tokens, or of hidden states when `nEmbd` > 0. Valid until the next call. */
  batch(rows: number, nEmbd: number): BatchRows {
    const { tokens, embd, pos, seqCounts, seqIds, seqPointers, outputs } = this.#buffers;
    return {
      rows,
      tokens,
      embd,
      set(row, position, sequence, isOutput): void {
        pos[row] = position;
        seqIds[row] = sequence;
        outputs[row] = isOutput ? 1 : 0;
      },
      native: {
        n_tokens: rows,
        token: nEmbd > 0 ? null : tokens,
        embd: nEmbd > 0 ? embd : null,
        pos,
        n_seq_id: seqCounts,
        seq_id: seqPointers,
        logits: outputs,
      },
    };
  }

  /**
   * @param call what hooks are told of it; null = nothing is observed
   * @throws NoodleError `ENGINE_KV_FULL` (state unchanged), `ENGINE_FAILED` (the caller must truncate); what a hook threw
   */
  decode(batch: BatchRows, call: EngineCall | null): void {
    this.checkIdle();
    this.observer?.beginCall(call);
    this.#decoding = true;
    this.hasPendingCopy = false;
    let rc: number;
    try {
      rc = this.library.calls.llama_decode(this.pointer, batch.native);
    } finally {
      this.#decoding = false;
    }
    if (rc === 0) {
      this.observer?.endCall();
      return;
    }
    this.observer?.abandonCall();
    if (rc === 1)
      throw new NoodleError("ENGINE_KV_FULL", `no KV cells for ${batch.rows} more rows (--context, --parallel)`);
    throw new NoodleError("ENGINE_FAILED", `llama_decode returned ${rc} for ${batch.rows} rows`);
  }

  /** f32[nVocab] of a batch row that was flagged as output; in place, so valid until the next call. */
  logits(row: number): Float32Array {
    const address = this.library.calls.llama_get_logits_ith(this.pointer, row);
    if (address === null) throw new NoodleError("ENGINE_FAILED", `no logits for row ${row}`);
    return viewFloats(address, this.nVocab);
  }

  removePositions(sequence: number, from: number): void {
    this.checkIdle();
    this.library.calls.llama_memory_seq_rm(this.#memory, sequence, from, -1);
  }

  /**
   * Makes `to` a copy of the first `tokens` positions of `from`. The library can only copy whole streams, and does so at
   * the next decode: until then the cells say what they will hold, and `hasPendingCopy` is true.
   */
  copyStream(from: number, to: number, tokens: number): void {
    this.checkIdle();
    this.library.calls.llama_memory_seq_cp(this.#memory, from, to, -1, -1);
    this.hasPendingCopy = true;
    this.removePositions(to, tokens);
  }

  clear(): void {
    this.library.calls.llama_memory_clear(this.#memory, false);
  }

  readState(sequence: number): Uint8Array {
    this.checkIdle();
    const size = Number(this.library.calls.llama_state_seq_get_size(this.pointer, sequence));
    const blob = new Uint8Array(size);
    const written = Number(this.library.calls.llama_state_seq_get_data(this.pointer, blob, size, sequence));
    if (written !== size)
      throw new NoodleError("ENGINE_FAILED", `state of sequence ${sequence}: ${written} of ${size} bytes`);
    return blob;
  }

  /** Replaces the sequence's cells. @returns whether the engine took the state; if not, the sequence is empty. */
  writeState(sequence: number, blob: Uint8Array): boolean {
    this.checkIdle();
    if (Number(this.library.calls.llama_state_seq_set_data(this.pointer, blob, blob.byteLength, sequence)) > 0)
      return true;
    this.removePositions(sequence, 0);
    return false;
  }

  close(): void {
    if (this.#closed) return;
    this.checkIdle();
    this.#closed = true;
    const { calls } = this.library;
    calls.llama_detach_threadpool(this.pointer);
    calls.llama_free(this.pointer);
    calls.llama_model_free(this.#model);
    this.observer?.close();
    releaseThreadpool(this.library, this.#threads);
  }

  /** @throws NoodleError `ILLEGAL_STATE` after close, and inside a hook */
  checkIdle(): void {
    if (this.#closed) throw new NoodleError("ILLEGAL_STATE", "stage used after close");
    if (this.#decoding) throw new NoodleError("ILLEGAL_STATE", "stage used by a hook while it computes");
  }
}

function createBuffers(maxRows: number, nEmbd: number) {
  const seqIds = new Int32Array(maxRows);
  const base = readAddress(seqIds);
  return {
    tokens: new Int32Array(maxRows),
    embd: new Float32Array(maxRows * nEmbd),
    pos: new Int32Array(maxRows),
    seqCounts: new Int32Array(maxRows).fill(1),
    seqIds,
    /** `llama_seq_id **`: one id for each row. */
    seqPointers: BigUint64Array.from({ length: maxRows }, (_, row) => base + BigInt(row * 4)),
    outputs: new Int8Array(maxRows),
  };
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
