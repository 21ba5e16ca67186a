import { NoodleError } from "../../common/index.ts";
import { type ArchitectureSpec, ARCHITECTURES } from "../architectures/index.ts";
import { DUMMY_SHAPES, type DummyShape } from "./shapes.ts";
import { MIN_VOCAB_SIZE } from "./tokenizer.ts";
import { WEIGHT_TYPE_NAMES } from "./weight-data.ts";

/** Shorter than the prompts of tests. */
const SMALL_WINDOW = 64;

/** Weights mostly Q4_K, some Q6_K, as the engine's own quantiser mixes them. */
export const Q4_K_M = "q4_k_m";

/** A random-weight model to make. What is not given comes from `like`, or from a small model of the architecture. */
export interface DummyOptions {
  /** One of the verified architectures. @default that of `like`, or llama */
  readonly architecture?: string;
  /** Name of a known shape, for example `llama-1b`. */
  readonly like?: string;
  readonly layers?: number;
  readonly embd?: number;
  readonly heads?: number;
  /** @default as `like` if that divides the heads, else as many as heads */
  readonly kvHeads?: number;
  /** @default as `like` while embd and heads are as there, else embd / heads */
  readonly headSize?: number;
  readonly ff?: number;
  readonly vocab?: number;
  /** 0 for a dense model. */
  readonly experts?: number;
  /** No output matrix of its own. @default as `like`, or true where the architecture allows it */
  readonly tied?: boolean;
  /** @default 2048 without `like` */
  readonly contextLength?: number;
  /** Tokens; only for architectures that have windows. */
  readonly slidingWindow?: number;
  /** Weight type: f32, f16, bf16, a quantised type, or q4_k_m. @default q4_0 */
  readonly type?: string;
  /** @default 0 */
  readonly seed?: number;
}

/** Everything decided and checked. */
export interface CompiledDummyOptions extends Required<Omit<DummyShape, "slidingWindow">> {
  readonly spec: ArchitectureSpec;
  /** null for a model without windows. */
  readonly slidingWindow: number | null;
  readonly type: string;
  readonly seed: number;
}

/**
 * @throws NoodleError `USAGE` naming option, value and limit; `MODEL_UNSUPPORTED` for an architecture of which no dummies
 *   can be made
 */
export function compileDummyOptions(options: DummyOptions): CompiledDummyOptions {
  const shape = chooseShape(options);
  const architecture = options.architecture ?? shape.architecture;
  const spec = ARCHITECTURES.get(architecture);
  if (spec === undefined) {
    const known = [...ARCHITECTURES.keys()].join(", ");
    throw new NoodleError("MODEL_UNSUPPORTED", `no dummies of the architecture "${architecture}"; known: ${known}`);
  }
  const embd = readCount("embd", options.embd ?? shape.embd, 32, 65_536);
  const heads = readCount("heads", options.heads ?? shape.heads, 1, 1024);
  const keepsHeadSize = options.headSize === undefined && options.embd === undefined && options.heads === undefined;
  const headSize = keepsHeadSize ? shape.headSize : options.headSize;
  const compiled: CompiledDummyOptions = {
    spec,
    architecture,
    layers: readCount("layers", options.layers ?? shape.layers, 1, 512),
    embd,
    heads,
    kvHeads: readCount("kv-heads", options.kvHeads ?? chooseKvHeads(shape, spec, heads), 1, heads),
    headSize: readCount("head-size", headSize ?? embd / heads, 2, 1024),
    ff: readCount("ff", options.ff ?? shape.ff, 32, 1_048_576),
    vocab: readCount("vocab", options.vocab ?? shape.vocab, MIN_VOCAB_SIZE, 1_048_576),
    experts: readCount("experts", options.experts ?? shape.experts ?? (spec.experts === "always" ? 4 : 0), 0, 512),
    tied: options.tied ?? (spec.output === "optional" && shape.tied),
    contextLength: readCount("context", options.contextLength ?? shape.contextLength, 16, 16_777_216),
    slidingWindow: chooseWindow(options, shape, spec),
    type: (options.type ?? "q4_0").toLowerCase(),
    seed: readCount("seed", options.seed ?? 0, 0, Number.MAX_SAFE_INTEGER),
  };
  checkTogether(compiled);
  return compiled;
}

/** Small enough for a test, wide enough for every weight type. */
function smallShape(architecture: string): DummyShape {
  return {
    architecture,
    layers: 4,
    embd: 256,
    heads: 4,
    kvHeads: 2,
    ff: 512,
    vocab: 512,
    tied: true,
    contextLength: 2048,
    ...(architecture === "gemma3" ? { slidingWindow: SMALL_WINDOW } : {}),
  };
}

function chooseShape(options: DummyOptions): DummyShape {
  if (options.like === undefined) return smallShape(options.architecture ?? "llama");
  const shape = DUMMY_SHAPES.get(options.like);
  if (shape === undefined) {
    throw usage(`--like "${options.like}" is not known; known: ${[...DUMMY_SHAPES.keys()].join(", ")}`);
  }
  if (options.architecture !== undefined && options.architecture !== shape.architecture) {
    throw usage(`--like ${options.like} is of the architecture ${shape.architecture}, not ${options.architecture}`);
  }
  return shape;
}

/** Those of the shape where they fit the heads that were asked for. */
function chooseKvHeads(shape: DummyShape, spec: ArchitectureSpec, heads: number): number {
  return spec.groupedHeads && heads % shape.kvHeads === 0 ? shape.kvHeads : heads;
}

function chooseWindow(options: DummyOptions, shape: DummyShape, spec: ArchitectureSpec): number | null {
  const window = options.slidingWindow ?? shape.slidingWindow ?? (spec.sliding?.required ? SMALL_WINDOW : undefined);
  if (window === undefined) return null;
  if (spec.sliding === undefined) throw usage(`--sliding-window: the architecture ${spec.name} has no sliding windows`);
  return readCount("sliding-window", window, 1, 1_048_576);
}

function checkTogether(options: CompiledDummyOptions): void {
  const { spec, embd, heads, kvHeads, headSize, experts } = options;
  if (headSize % 2 !== 0) throw usage(`--head-size ${headSize}: must be even, positions rotate pairs`);
  if (heads % kvHeads !== 0) throw usage(`--kv-heads ${kvHeads}: must divide --heads ${heads}`);
  if (!spec.groupedHeads && kvHeads !== heads) {
    throw usage(`--kv-heads ${kvHeads}: the architecture ${spec.name} has as many as --heads ${heads}`);
  }
  if (spec.headWidth === "tied" && heads * headSize !== embd) {
    throw usage(`--head-size ${headSize}: the architecture ${spec.name} needs heads x head size = --embd ${embd}`);
  }
  if (spec.experts === "never" && experts > 0) throw usage(`--experts ${experts}: ${spec.name} has no experts`);
  if (spec.experts === "always" && experts === 0) throw usage(`--experts 0: ${spec.name} has experts always`);
  if (experts === 1) throw usage("--experts 1: must be 0 or from 2");
  if (spec.output === "required" && options.tied) throw usage(`--tied: ${spec.name} has an output matrix always`);
  if (options.type !== Q4_K_M && !WEIGHT_TYPE_NAMES.includes(options.type)) {
    throw usage(`--type "${options.type}" is not known; known: ${[...WEIGHT_TYPE_NAMES, Q4_K_M].join(", ")}`);
  }
}

function readCount(option: string, value: number, min: number, max: number): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw usage(`--${option} ${value}: must be a whole number from ${min} to ${max}`);
}

function usage(message: string): NoodleError {
  return new NoodleError("USAGE", message);
}
