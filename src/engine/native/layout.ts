import koffi from "koffi";
import { NoodleError } from "../../common/index.ts";
import { STRUCT_BYTES } from "./pinned.ts";

/** A native address. koffi gives null pointers as null. */
export type Pointer = bigint;

// Members in the order and with the names of llama.h. Pointers that we never set are plain void*.

export const ModelParams = koffi.struct("llama_model_params", {
  devices: "void *",
  tensor_buft_overrides: "void *",
  n_gpu_layers: "int32_t",
  split_mode: "int32_t",
  load_mode: "int32_t",
  lazy_mode: "int32_t",
  main_gpu: "int32_t",
  tensor_split: "void *",
  progress_callback: "void *",
  progress_callback_user_data: "void *",
  kv_overrides: "void *",
  vocab_only: "bool",
  check_tensors: "bool",
  use_extra_bufts: "bool",
  no_host: "bool",
  no_alloc: "bool",
  load_mtp: "bool",
});

export const ContextParams = koffi.struct("llama_context_params", {
  n_ctx: "uint32_t",
  n_batch: "uint32_t",
  n_ubatch: "uint32_t",
  n_seq_max: "uint32_t",
  n_rs_seq: "uint32_t",
  n_outputs_max: "uint32_t",
  n_outputs_max_per_seq: "uint32_t",
  n_threads: "int32_t",
  n_threads_batch: "int32_t",
  ctx_type: "int32_t",
  rope_scaling_type: "int32_t",
  pooling_type: "int32_t",
  attention_type: "int32_t",
  flash_attn_type: "int32_t",
  rope_freq_base: "float",
  rope_freq_scale: "float",
  yarn_ext_factor: "float",
  yarn_attn_factor: "float",
  yarn_beta_fast: "float",
  yarn_beta_slow: "float",
  yarn_orig_ctx: "uint32_t",
  defrag_thold: "float",
  cb_eval: "void *",
  cb_eval_user_data: "void *",
  type_k: "int32_t",
  type_v: "int32_t",
  abort_callback: "void *",
  abort_callback_data: "void *",
  embeddings: "bool",
  offload_kqv: "bool",
  no_perf: "bool",
  op_offload: "bool",
  swa_full: "bool",
  kv_unified: "bool",
  samplers: "void *",
  n_samplers: "size_t",
  ctx_other: "void *",
});

export const Batch = koffi.struct("llama_batch", {
  n_tokens: "int32_t",
  token: "void *",
  embd: "void *",
  pos: "void *",
  n_seq_id: "void *",
  seq_id: "void *",
  logits: "void *",
});

export const QuantizeParams = koffi.struct("llama_model_quantize_params", {
  nthread: "int32_t",
  ftype: "int32_t",
  output_tensor_type: "int32_t",
  token_embedding_type: "int32_t",
  allow_requantize: "bool",
  quantize_output_tensor: "bool",
  only_copy: "bool",
  pure: "bool",
  keep_split: "bool",
  dry_run: "bool",
  imatrix: "void *",
  kv_overrides: "void *",
  tt_overrides: "void *",
  prune_layers: "void *",
  max_buf_size: "size_t",
});

// Known to the declarations by its name alone.
koffi.struct("llama_sampler_chain_params", { no_perf: "bool" });

export const TypeTraits = koffi.struct("ggml_type_traits", {
  type_name: "const char *",
  blck_size: "int64_t",
  blck_size_interleave: "int64_t",
  type_size: "size_t",
  is_quantized: "bool",
  to_float: "void *",
  from_float_ref: "void *",
});

/** `ggml_backend_sched_eval_callback`; addresses come as plain numbers, which is what keeps a call cheap. */
export const EvalCallback = koffi.proto("bool noodle_eval_callback(size_t tensor, bool ask, size_t user_data)");
export const ToFloat = koffi.proto("void noodle_to_float(const void *x, void *y, int64_t k)");

koffi.struct("ggml_init_params", { mem_size: "size_t", mem_buffer: "void *", no_alloc: "bool" });

/** Offsets inside `ggml_tensor` (with `GGML_MAX_DIMS` 4, `GGML_MAX_SRC` 10), which the callbacks read in place. */
export const TENSOR = {
  type: 0,
  buffer: 8,
  ne: 16,
  nb: 48,
  op: 80,
  flags: 148,
  src: 152,
  sources: 10,
  viewSrc: 232,
  viewOffs: 240,
  data: 248,
  name: 256,
  nameBytes: 64,
  bytes: 336,
} as const;

/** Checks that koffi lays the structs out as the pinned header does. @throws NoodleError `ENGINE_INCOMPATIBLE` */
export function checkStructSizes(): void {
  const sizes = {
    modelParams: koffi.sizeof(ModelParams),
    contextParams: koffi.sizeof(ContextParams),
    batch: koffi.sizeof(Batch),
    quantizeParams: koffi.sizeof(QuantizeParams),
  };
  for (const [name, expected] of Object.entries(STRUCT_BYTES)) {
    const actual = sizes[name as keyof typeof sizes];
    if (actual !== expected) {
      throw new NoodleError(
        "ENGINE_INCOMPATIBLE",
        `struct ${name} is ${actual} bytes here, the pinned header says ${expected}`,
      );
    }
  }
}
