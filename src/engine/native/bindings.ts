import koffi, { type LibraryHandle } from "koffi";
import { must } from "../../common/index.ts";
import { findLibrary } from "./locate.ts";
import type { Pointer } from "./layout.ts";
import "./layout.ts";

/** Values of a struct that crosses by value; unknown members stay as the library's defaults gave them. */
export type StructValue = Record<string, number | bigint | boolean | null | string | ArrayBufferView>;

type Nullable = Pointer | null;

/** The calls that we make, with the names of llama.h and ggml-backend.h and in their order. */
export interface Bindings {
  // ggml-base, ggml
  ggml_backend_load(path: string): Nullable;
  ggml_backend_reg_count(): number | bigint;
  ggml_backend_reg_by_name(name: string): Nullable;
  ggml_backend_reg_get_proc_address(reg: Pointer, name: string): Nullable;
  ggml_backend_dev_count(): number | bigint;
  ggml_backend_dev_get(index: number): Pointer;
  ggml_backend_dev_name(dev: Pointer): string;
  ggml_backend_dev_description(dev: Pointer): string;
  ggml_backend_dev_type(dev: Pointer): number;
  ggml_backend_dev_memory(dev: Pointer, free: BigUint64Array, total: BigUint64Array): void;
  ggml_backend_tensor_get(tensor: Pointer | number, data: ArrayBufferView, offset: number, size: number): void;
  ggml_backend_buffer_name(buffer: number): string;
  ggml_get_type_traits(type: number): Pointer;
  ggml_op_name(op: number): string;
  ggml_tensor_overhead(): number | bigint;
  ggml_init(params: StructValue): Pointer;
  ggml_free(ctx: Pointer): void;
  ggml_new_tensor_2d(ctx: Pointer, type: number, ne0: number, ne1: number): number | bigint;
  ggml_mul_mat(ctx: Pointer, a: number, b: number): number | bigint;
  ggml_view_1d(ctx: Pointer, a: number, ne0: number, offset: number): number | bigint;
  ggml_set_name(tensor: number, name: string): number | bigint;
  // llama.h
  llama_version(): string;
  llama_model_default_params(): StructValue;
  llama_context_default_params(): StructValue;
  llama_sampler_chain_default_params(): StructValue;
  llama_model_quantize_default_params(): StructValue;
  llama_backend_init(): void;
  llama_attach_threadpool(ctx: Pointer, threadpool: Pointer, threadpoolBatch: Pointer): void;
  llama_detach_threadpool(ctx: Pointer): void;
  llama_model_load_from_file(path: string, params: StructValue): Nullable;
  llama_model_free(model: Pointer): void;
  llama_init_from_model(model: Pointer, params: StructValue): Nullable;
  llama_free(ctx: Pointer): void;
  llama_get_memory(ctx: Pointer): Nullable;
  llama_model_get_vocab(model: Pointer): Pointer;
  llama_model_size(model: Pointer): number | bigint;
  llama_model_is_recurrent(model: Pointer): boolean;
  llama_model_is_hybrid(model: Pointer): boolean;
  llama_vocab_n_tokens(vocab: Pointer): number;
  llama_model_quantize(input: string, output: string, params: Pointer | StructValue): number;
  llama_memory_clear(memory: Pointer, data: boolean): void;
  llama_memory_seq_rm(memory: Pointer, seq: number, p0: number, p1: number): boolean;
  llama_memory_seq_cp(memory: Pointer, from: number, to: number, p0: number, p1: number): void;
  llama_state_seq_get_size(ctx: Pointer, seq: number): number | bigint;
  llama_state_seq_get_data(ctx: Pointer, dst: Uint8Array, size: number, seq: number): number | bigint;
  llama_state_seq_set_data(ctx: Pointer, src: Uint8Array, size: number, seq: number): number | bigint;
  llama_decode(ctx: Pointer, batch: StructValue): number;
  llama_get_logits_ith(ctx: Pointer, i: number): Nullable;
  llama_vocab_get_attr(vocab: Pointer, token: number): number;
  llama_vocab_is_eog(vocab: Pointer, token: number): boolean;
  llama_vocab_is_control(vocab: Pointer, token: number): boolean;
  llama_vocab_bos(vocab: Pointer): number;
  llama_vocab_eos(vocab: Pointer): number;
  llama_vocab_eot(vocab: Pointer): number;
  llama_tokenize(
    vocab: Pointer,
    text: Uint8Array,
    textLen: number,
    tokens: Int32Array,
    max: number,
    special: boolean,
    parse: boolean,
  ): number;
  llama_token_to_piece(
    vocab: Pointer,
    token: number,
    buf: Uint8Array,
    length: number,
    lstrip: number,
    special: boolean,
  ): number;
  llama_sampler_chain_init(params: StructValue): Pointer;
  llama_sampler_chain_add(chain: Pointer, sampler: Pointer): void;
  llama_sampler_accept(sampler: Pointer, token: number): void;
  llama_sampler_apply(sampler: Pointer, candidates: Uint8Array): void;
  llama_sampler_free(sampler: Pointer): void;
  llama_sampler_init_greedy(): Pointer;
  llama_sampler_init_dist(seed: number): Pointer;
  llama_sampler_init_top_k(k: number): Pointer;
  llama_sampler_init_top_p(p: number, minKeep: number): Pointer;
  llama_sampler_init_min_p(p: number, minKeep: number): Pointer;
  llama_sampler_init_typical(p: number, minKeep: number): Pointer;
  llama_sampler_init_temp(t: number): Pointer;
  llama_sampler_init_penalties(nVocab: number, lastN: number, repeat: number, freq: number, present: number): Pointer;
  llama_sampler_sample(sampler: Pointer, ctx: Pointer, idx: number): number;
  llama_log_set(callback: Nullable, userData: null): void;
  llama_print_system_info(): string;
}

const GGML_BASE = [
  "void *ggml_backend_reg_get_proc_address(void *reg, const char *name)",
  "const char *ggml_backend_dev_name(void *dev)",
  "const char *ggml_backend_dev_description(void *dev)",
  "int ggml_backend_dev_type(void *dev)",
  "void ggml_backend_dev_memory(void *dev, void *free, void *total)",
  "void ggml_backend_tensor_get(size_t tensor, void *data, size_t offset, size_t size)",
  "const char *ggml_backend_buffer_name(size_t buffer)",
  "void *ggml_get_type_traits(int type)",
  "const char *ggml_op_name(int op)",
  "size_t ggml_tensor_overhead()",
  "void *ggml_init(ggml_init_params params)",
  "void ggml_free(void *ctx)",
  "size_t ggml_new_tensor_2d(void *ctx, int type, int64_t ne0, int64_t ne1)",
  "size_t ggml_mul_mat(void *ctx, size_t a, size_t b)",
  "size_t ggml_view_1d(void *ctx, size_t a, int64_t ne0, size_t offset)",
  "size_t ggml_set_name(size_t tensor, const char *name)",
];

const GGML = [
  "void *ggml_backend_load(const char *path)",
  "size_t ggml_backend_reg_count()",
  "void *ggml_backend_reg_by_name(const char *name)",
  "size_t ggml_backend_dev_count()",
  "void *ggml_backend_dev_get(size_t index)",
];

const LLAMA = [
  "const char *llama_version()",
  "llama_model_params llama_model_default_params()",
  "llama_context_params llama_context_default_params()",
  "llama_sampler_chain_params llama_sampler_chain_default_params()",
  "llama_model_quantize_params llama_model_quantize_default_params()",
  "void llama_backend_init()",
  "void llama_attach_threadpool(void *ctx, void *threadpool, void *threadpool_batch)",
  "void llama_detach_threadpool(void *ctx)",
  "void *llama_model_load_from_file(const char *path, llama_model_params params)",
  "void llama_model_free(void *model)",
  "void *llama_init_from_model(void *model, llama_context_params params)",
  "void llama_free(void *ctx)",
  "void *llama_get_memory(void *ctx)",
  "void *llama_model_get_vocab(void *model)",
  "uint64_t llama_model_size(void *model)",
  "bool llama_model_is_recurrent(void *model)",
  "bool llama_model_is_hybrid(void *model)",
  "int32_t llama_vocab_n_tokens(void *vocab)",
  "uint32_t llama_model_quantize(const char *input, const char *output, llama_model_quantize_params *params)",
  "void llama_memory_clear(void *memory, bool data)",
  "bool llama_memory_seq_rm(void *memory, int32_t seq, int32_t p0, int32_t p1)",
  "void llama_memory_seq_cp(void *memory, int32_t from, int32_t to, int32_t p0, int32_t p1)",
  "size_t llama_state_seq_get_size(void *ctx, int32_t seq)",
  "size_t llama_state_seq_get_data(void *ctx, void *dst, size_t size, int32_t seq)",
  "size_t llama_state_seq_set_data(void *ctx, void *src, size_t size, int32_t seq)",
  "int32_t llama_decode(void *ctx, llama_batch batch)",
  "void *llama_get_logits_ith(void *ctx, int32_t i)",
  "int32_t llama_vocab_get_attr(void *vocab, int32_t token)",
  "bool llama_vocab_is_eog(void *vocab, int32_t token)",
  "bool llama_vocab_is_control(void *vocab, int32_t token)",
  "int32_t llama_vocab_bos(void *vocab)",
  "int32_t llama_vocab_eos(void *vocab)",
  "int32_t llama_vocab_eot(void *vocab)",
  "int32_t llama_tokenize(void *vocab, void *text, int32_t text_len, void *tokens, int32_t n_tokens_max, bool add_special, bool parse_special)",
  "int32_t llama_token_to_piece(void *vocab, int32_t token, void *buf, int32_t length, int32_t lstrip, bool special)",
  "void *llama_sampler_chain_init(llama_sampler_chain_params params)",
  "void llama_sampler_chain_add(void *chain, void *sampler)",
  "void llama_sampler_accept(void *sampler, int32_t token)",
  "void llama_sampler_apply(void *sampler, void *candidates)",
  "void llama_sampler_free(void *sampler)",
  "void *llama_sampler_init_greedy()",
  "void *llama_sampler_init_dist(uint32_t seed)",
  "void *llama_sampler_init_top_k(int32_t k)",
  "void *llama_sampler_init_top_p(float p, size_t min_keep)",
  "void *llama_sampler_init_min_p(float p, size_t min_keep)",
  "void *llama_sampler_init_typical(float p, size_t min_keep)",
  "void *llama_sampler_init_temp(float t)",
  "void *llama_sampler_init_penalties(int32_t n_vocab, int32_t last_n, float repeat, float freq, float present)",
  "int32_t llama_sampler_sample(void *sampler, void *ctx, int32_t idx)",
  "void llama_log_set(void *callback, void *user_data)",
  "const char *llama_print_system_info()",
];

export interface LoadedLibraries {
  readonly bindings: Bindings;
  /** Address of a native function that takes anything and does nothing: the log callback that silences the library. */
  readonly noop: Pointer;
}

/** Opens the three libraries of an engine directory and declares what we call. Loads no compute backend yet. */
export function bindLibraries(directory: string): LoadedLibraries {
  const open = (name: string): LibraryHandle =>
    koffi.load(must(findLibrary(directory, name), `library ${name} in ${directory}`));
  // libllama names the other two by $ORIGIN, so that these are the same instances.
  const libraries: [LibraryHandle, readonly string[]][] = [
    [open("llama"), LLAMA],
    [open("ggml-base"), GGML_BASE],
    [open("ggml"), GGML],
  ];
  const calls: Record<string, unknown> = {};
  for (const [library, declarations] of libraries) {
    for (const declaration of declarations) {
      const name = must(/([a-z0-9_]+)\(/.exec(declaration)?.[1], `name in ${declaration}`);
      calls[name] = library.func(declaration);
    }
  }
  // ggml_cycles_per_ms takes nothing and returns a constant.
  const noop = must(libraries[1]?.[0], "ggml-base").symbol("ggml_cycles_per_ms") as Pointer;
  return { bindings: calls as unknown as Bindings, noop };
}
