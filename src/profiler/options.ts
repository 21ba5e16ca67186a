import { NoodleError } from "../common/index.ts";
import { defaultThreads, type LoadOptions } from "../engine/index.ts";
import { type HookLevel, readHookLevel } from "../observe/index.ts";

/** What to profile and how. Exactly one of `model` and `like` must be given. */
export interface ProfileOptions {
  /** A GGUF file; of a synthetic run its header is enough. */
  readonly model?: string;
  /** Name of a known shape, for example `llama-8b`; implies `synthetic`. */
  readonly like?: string;
  /** Weight type of `like`. @default q4_0 */
  readonly type?: string;
  /** Layers of the same shapes and types with random weights stand for the model's. @default false */
  readonly synthetic?: boolean;
  /** Half-open range of units, `A:B`. @default all */
  readonly units?: string;
  /** @default one for each core */
  readonly threads?: number;
  /** @default role */
  readonly level?: HookLevel;
  /** Rows of prefill steps. @default 16, 64, 256 */
  readonly prefillRows?: readonly number[];
  /** Rows of decode steps, each of a sequence of its own. @default 1, 2, 4, 8, 16 */
  readonly decodeRows?: readonly number[];
  /** Positions in the KV cache before a step. @default 0, 512, 2048 */
  readonly contexts?: readonly number[];
  /** Time for measuring cells, beside preparing and loading; null = until every cell is settled. @default 60,000 */
  readonly budgetMs?: number | null;
  /** What weights and KV may take. @default what is free, less a fifth */
  readonly memoryBytes?: number;
  /** Of inputs, random weights and the order of measurements. @default 1 */
  readonly seed?: number;
  /** How the engine is loaded. */
  readonly engine?: LoadOptions;
  /** Goes into the document. */
  readonly noodlecoreVersion?: string;
}

export interface CompiledProfileOptions
  extends Required<Omit<ProfileOptions, "model" | "like" | "units" | "memoryBytes">> {
  readonly model: string | null;
  readonly like: string | null;
  readonly units: string | null;
  readonly memoryBytes: number | null;
}

const MAX_VALUES = 64;
const LIMITS = {
  prefill: { option: "--prefill", min: 1, max: 65_536 },
  decode: { option: "--decode-rows", min: 1, max: 256 },
  contexts: { option: "--contexts", min: 0, max: 1 << 24 },
} as const;

/** @throws NoodleError `USAGE` naming the option and what is legal */
export function compileProfileOptions(options: ProfileOptions): CompiledProfileOptions {
  const { model, like } = options;
  if (model === undefined && like === undefined) throw usage("name a GGUF file, or a shape with --like");
  if (model !== undefined && like !== undefined) throw usage("a GGUF file and --like exclude each other");
  if (like === undefined && options.type !== undefined) throw usage("--type is for --like: a file has its own types");
  const level = options.level ?? "role";
  readHookLevel(level, "--level");
  const budgetMs = options.budgetMs === undefined ? 60_000 : options.budgetMs;
  if (budgetMs !== null && !(budgetMs > 0)) throw usage(`--budget ${budgetMs} ms: must be more than 0`);
  const prefillRows = checkList(options.prefillRows ?? [16, 64, 256], LIMITS.prefill);
  const decodeRows = checkList(options.decodeRows ?? [1, 2, 4, 8, 16], LIMITS.decode);
  if (prefillRows.length + decodeRows.length === 0) throw usage("--prefill and --decode-rows are both empty");
  const contexts = checkList(options.contexts ?? [0, 512, 2048], LIMITS.contexts);
  if (contexts.length === 0) throw usage("--contexts is empty");
  return {
    model: model ?? null,
    like: like ?? null,
    type: options.type ?? "q4_0",
    synthetic: like !== undefined || options.synthetic === true,
    units: options.units ?? null,
    threads: options.threads ?? defaultThreads(),
    level,
    prefillRows,
    decodeRows,
    contexts,
    budgetMs,
    memoryBytes: options.memoryBytes ?? null,
    seed: options.seed ?? 1,
    engine: options.engine ?? {},
    noodlecoreVersion: options.noodlecoreVersion ?? "unknown",
  };
}

function checkList(
  values: readonly number[],
  { option, min, max }: { readonly option: string; readonly min: number; readonly max: number },
): readonly number[] {
  if (values.length > MAX_VALUES) throw usage(`${option}: ${values.length} values, at most ${MAX_VALUES}`);
  const bad = values.find((value) => !Number.isSafeInteger(value) || value < min || value > max);
  if (bad !== undefined) throw usage(`${option} ${bad}: must be whole numbers from ${min} to ${max}`);
  return [...new Set(values)].sort((a, b) => a - b);
}

function usage(message: string): NoodleError {
  return new NoodleError("USAGE", message);
}
