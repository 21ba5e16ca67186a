// Child process of the layout check: exits 0 with a report, or dies of what it found.
import type { StructValue } from "./bindings.ts";
import { TENSOR } from "./layout.ts";
import { type Library, type LoadOptions, loadLibrary } from "./library.ts";
import { readTensor } from "./tensor.ts";

/** Defaults as the pinned llama.cpp returns them: a shifted member shows as another value. */
const EXPECTED: Readonly<Record<string, Readonly<Record<string, number | boolean | null>>>> = {
  llama_context_default_params: {
    n_ctx: 512,
    n_batch: 2048,
    n_ubatch: 512,
    n_seq_max: 1,
    n_threads: 4,
    rope_scaling_type: -1,
    pooling_type: -1,
    attention_type: -1,
    flash_attn_type: -1,
    yarn_ext_factor: -1,
    yarn_orig_ctx: 0,
    defrag_thold: -1,
    cb_eval: null,
    type_k: 1,
    type_v: 1,
    abort_callback: null,
    embeddings: false,
    offload_kqv: true,
    no_perf: true,
    op_offload: true,
    swa_full: true,
    kv_unified: false,
    samplers: null,
    ctx_other: null,
  },
  llama_model_default_params: {
    devices: null,
    n_gpu_layers: -1,
    split_mode: 1,
    load_mode: -1,
    main_gpu: 0,
    kv_overrides: null,
    vocab_only: false,
    use_extra_bufts: true,
    no_alloc: false,
  },
  llama_model_quantize_default_params: {
    nthread: 0,
    allow_requantize: false,
    quantize_output_tensor: true,
    only_copy: false,
    pure: false,
    imatrix: null,
  },
};

/** `ggml_object`, which lies in front of each tensor of a context. */
const OBJECT_BYTES = 32;

const options = JSON.parse(process.argv[2] ?? "{}") as LoadOptions;
const library = loadLibrary(options);
const checked: string[] = [];
const problems: string[] = [];
for (const [call, members] of Object.entries(EXPECTED)) {
  const value = (library.calls[call as keyof typeof library.calls] as () => StructValue)();
  for (const [member, expected] of Object.entries(members)) {
    checked.push(`${call}.${member}`);
    if (value[member] !== expected)
      problems.push(
        `${call}().${member} is ${JSON.stringify(value[member])}, the pinned header's default is ${String(expected)}`,
      );
  }
}
// A threadpool proves its parameter struct, a sampler chain its own.
library.freeThreadpool(library.newThreadpool(1));
library.calls.llama_sampler_free(
  library.calls.llama_sampler_chain_init(library.calls.llama_sampler_chain_default_params()),
);
checked.push("ggml_threadpool_params", "llama_sampler_chain_params");
for (const [member, actual, expected] of readSampleTensors(library)) {
  checked.push(`ggml_tensor.${member}`);
  if (actual !== expected) problems.push(`ggml_tensor.${member} reads ${actual}, it was made as ${expected}`);
}
process.stdout.write(JSON.stringify({ ok: problems.length === 0, problem: problems[0] ?? null, checked }));

/** Lets the library make tensors of which everything is known, and reads them where the pinned header puts things. */
function readSampleTensors({ calls }: Library): [member: string, actual: string | number, expected: string | number][] {
  const ctx = calls.ggml_init({ mem_size: 1 << 16, mem_buffer: null, no_alloc: true });
  const make = (address: number | bigint, name: string): number => Number(calls.ggml_set_name(Number(address), name));
  const f16 = make(calls.ggml_new_tensor_2d(ctx, 1, 64, 5), "half");
  const f32 = make(calls.ggml_new_tensor_2d(ctx, 0, 64, 7), "single");
  const product = readTensor(make(calls.ggml_mul_mat(ctx, f16, f32), "product"));
  const view = readTensor(make(calls.ggml_view_1d(ctx, f16, 64, 128), "view"));
  const half = readTensor(f16);
  const samples: ReturnType<typeof readSampleTensors> = [
    ["bytes", Number(calls.ggml_tensor_overhead()) - OBJECT_BYTES, TENSOR.bytes],
    ["type", half.type, 1],
    ["buffer", half.buffer, 0],
    ["ne", half.ne.join(), "64,5,1,1"],
    ["nb", half.nb.join(), "2,128,640,640"],
    ["op", calls.ggml_op_name(product.op), "MUL_MAT"],
    ["flags", Number(half.isComputed), 0],
    ["src", product.sources.join(), `${f16},${f32}`],
    ["view_src", view.viewSrc, f16],
    ["view_offs", view.viewOffs, 128],
    ["name", product.name, "product"],
  ];
  calls.ggml_free(ctx);
  return samples;
}
