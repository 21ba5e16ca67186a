import { must, NoodleError } from "../../common/index.ts";
import { type GgmlType, tensorBytes } from "../../gguf/index.ts";
import type { WeightKind } from "../architectures/index.ts";
import { toBfloat16Bits, toFloat16Bits } from "./float-bits.ts";
import { Random } from "./random.ts";

/** A weight to invent. */
export interface RandomWeight {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type: GgmlType;
  readonly kind: WeightKind;
}

/**
 * How random bytes become blocks of a quantised type: its quants may be anything, its scales must be sane.
 *
 * @see ggml/src/ggml-common.h for the layouts, ggml-quants.c `dequantize_row_*` for the values (llama.cpp de3ff81)
 */
interface BlockFormat {
  /** Where the block's half-precision scale is. */
  readonly scaleAt: number;
  /** Standard deviation of a weight when the scale is 1 and all other bytes are uniform. */
  readonly deviation: number;
  /** A second half-precision field: where it is, and what multiple of the scale takes away the quants' mean. */
  readonly offset?: { readonly at: number; readonly factor: number };
}

const BLOCK_FORMATS: ReadonlyMap<string, BlockFormat> = new Map<string, BlockFormat>([
  ["q4_0", { scaleAt: 0, deviation: 4.6 }],
  ["q4_1", { scaleAt: 0, deviation: 4.6, offset: { at: 2, factor: -7.5 } }],
  ["q5_0", { scaleAt: 0, deviation: 9.2 }],
  ["q5_1", { scaleAt: 0, deviation: 9.2, offset: { at: 2, factor: -15.5 } }],
  ["q8_0", { scaleAt: 0, deviation: 73.9 }],
  ["q2_k", { scaleAt: 80, deviation: 13.9, offset: { at: 82, factor: 1.5 } }],
  ["q3_k", { scaleAt: 108, deviation: 43.3 }],
  ["q4_k", { scaleAt: 0, deviation: 258, offset: { at: 2, factor: 7.5 } }],
  ["q5_k", { scaleAt: 0, deviation: 527, offset: { at: 2, factor: 15.5 } }],
  ["q6_k", { scaleAt: 208, deviation: 1366 }],
  ["iq4_nl", { scaleAt: 0, deviation: 69.4 }],
  ["iq4_xs", { scaleAt: 0, deviation: 1282 }],
]);

/** Deviation of MXFP4's values when a block's exponent stands for 1. */
const MXFP4_DEVIATION = 5.85;

/**
 * Blocks of a tensor differ in scale by these factors, so that a mistake in scales shows. Half of them are negative:
 * the quants of most types are not quite symmetric, and a mean other than zero would grow from layer to layer until
 * every token looks the same.
 */
const SCALE_FACTORS = [0.7, 0.9, 1.1, 1.3, -0.7, -0.9, -1.1, -1.3];

/** Entries of a table of normal numbers; a power of two. */
const TABLE_ENTRIES = 2048;

const CHUNK_BYTES = 1024 * 1024;

/** Types that `generateWeight` can make matrices of. */
export const WEIGHT_TYPE_NAMES: readonly string[] = ["f32", "f16", "bf16", ...BLOCK_FORMATS.keys(), "mxfp4"];

/**
 * A tensor's data in pieces: matrices about normal with standard deviation 1/sqrt(row), so that activations keep their
 * size from layer to layer; norms near one, biases near zero. The same seed and name give the same bytes on every
 * little-endian machine. The pieces share memory: use each before asking for the next.
 */
export function* generateWeight(weight: RandomWeight, seed: number): Generator<Uint8Array> {
  const { name, dims, type, kind } = weight;
  const random = new Random(seed, name);
  const rowElements = must(dims[0], "dimension");
  if (kind === "norm" || kind === "bias" || kind === "factors") {
    const elements = dims.reduce((product, dim) => product * dim, 1);
    yield generateVector(kind, elements, random);
    return;
  }
  const fillChunk = makeFiller(type, 1 / Math.sqrt(rowElements), random);
  const totalBytes = tensorBytes(type, dims, name);
  const chunkBytes = Math.floor(CHUNK_BYTES / (4 * type.blockBytes)) * 4 * type.blockBytes;
  const words = new Uint32Array(chunkBytes / 4);
  const bytes = new Uint8Array(words.buffer);
  for (let done = 0; done < totalBytes; done += chunkBytes) {
    random.fillWords(words);
    fillChunk(words, bytes);
    yield bytes.subarray(0, Math.min(chunkBytes, totalBytes - done));
  }
}

/** F32. */
function generateVector(kind: "norm" | "bias" | "factors", elements: number, random: Random): Uint8Array {
  const values = new Float32Array(elements);
  for (let i = 0; i < elements; i++) {
    const uniform = random.nextUniform();
    values[i] = kind === "bias" ? 0.1 * uniform : kind === "norm" ? 1 + 0.1 * uniform : 2 + uniform;
  }
  return new Uint8Array(values.buffer);
}

/** Turns a chunk of random words into weights, in place. */
type ChunkFiller = (words: Uint32Array, bytes: Uint8Array) => void;

function makeFiller(type: GgmlType, deviation: number, random: Random): ChunkFiller {
  if (type.name === "f32") return fillFloat32(deviation, random);
  if (type.name === "f16") return fillFloat16(deviation, random, toFloat16Bits);
  if (type.name === "bf16") return fillFloat16(deviation, random, toBfloat16Bits);
  if (type.name === "mxfp4") return stampExponents(type.blockBytes, deviation);
  const format = BLOCK_FORMATS.get(type.name);
  if (format === undefined) throw new NoodleError("INTERNAL", `no random weights of type ${type.name}`);
  return stampScales(type.blockBytes, format, deviation / format.deviation);
}

function fillFloat32(deviation: number, random: Random): ChunkFiller {
  const table = Float64Array.from({ length: TABLE_ENTRIES }, () => random.nextNormal());
  return (words) => {
    const values = new Float32Array(words.buffer);
    for (let i = 0; i < words.length; i++) {
      const word = words[i] as number;
      // The upper bits spread the values of the table's few entries.
      values[i] = deviation * ((table[word % TABLE_ENTRIES] as number) + (word >>> 11) / 2 ** 27);
    }
  };
}

function fillFloat16(deviation: number, random: Random, toBits: (value: number) => number): ChunkFiller {
  const table = Uint16Array.from({ length: TABLE_ENTRIES }, () => toBits(deviation * random.nextNormal()));
  return (words) => {
    const halves = new Uint16Array(words.buffer);
    for (let i = 0; i < halves.length; i++) halves[i] = table[(halves[i] as number) % TABLE_ENTRIES] as number;
  };
}

/** Writes sane scales over the random ones; which of the few a block gets is told by the random byte in its place. */
function stampScales(blockBytes: number, format: BlockFormat, scale: number): ChunkFiller {
  const { scaleAt, offset } = format;
  const scaleBits = SCALE_FACTORS.map((variant) => toFloat16Bits(scale * variant));
  const offsetBits = SCALE_FACTORS.map((variant) => toFloat16Bits(scale * variant * (offset?.factor ?? 0)));
  return (_words, bytes) => {
    for (let block = 0; block < bytes.length; block += blockBytes) {
      const choice = (bytes[block + scaleAt] as number) % SCALE_FACTORS.length;
      writeUint16(bytes, block + scaleAt, scaleBits[choice] as number);
      if (offset !== undefined) writeUint16(bytes, block + offset.at, offsetBits[choice] as number);
    }
  };
}

function writeUint16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 0xff;
  bytes[at + 1] = value >>> 8;
}

/** The first byte of an MXFP4 block is a power of two, where 128 stands for 1. */
function stampExponents(blockBytes: number, deviation: number): ChunkFiller {
  let exponent = 128;
  for (let scale = MXFP4_DEVIATION; scale > deviation * 1.4; scale /= 2) exponent--;
  return (_words, bytes) => {
    for (let block = 0; block < bytes.length; block += blockBytes) {
      bytes[block] = exponent - ((bytes[block] as number) & 1);
    }
  };
}
