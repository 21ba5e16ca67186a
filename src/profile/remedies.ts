import { type GgmlType, ggmlTypeByName, tensorBytes } from "../gguf/index.ts";
import type { BottleneckInput } from "./bottlenecks.ts";
import { isPartOf } from "./count-work.ts";
import { findSpotMs, findStepMs, type HotSpot } from "./hot-spots.ts";
import type { TensorWork } from "./model-work.ts";
import { makeRemedy } from "./make-remedy.ts";
import { computeMs, type Roofs } from "./roofline.ts";
import { findStepRemedies } from "./step-remedies.ts";
import type { Remedy } from "./types.ts";
import { sayBytes, sayMs, saySharePercent } from "./words.ts";

/** A smaller gain is within what two runs differ by. */
const SMALLEST_GAIN = 0.01;
/** Weight types to go down to, largest first: each is in wide use and has a fast kernel. */
const LADDER = ["q8_0", "q6_k", "q4_0"];
/** A step down the ladder must save so much of the bytes to be worth the loss. */
const SMALLEST_TYPE_SAVING = 0.15;
/** Bytes of a key or value in Q8_0 and in F16. */
const Q8_0_OVER_F16 = 34 / 32 / 2;

/**
 * What would make a spot cheaper, largest gain first, each estimated from this profile's own figures. A gain is the
 * share of the whole step's time (per token, where the number of rows changes) that would be saved; gains do not add up.
 *
 * @param isDearest what concerns the whole step is said once, at its dearest spot
 */
export function findRemedies(spot: HotSpot, isDearest: boolean, input: BottleneckInput, roofs: Roofs): Remedy[] {
  return [
    requantise(spot, roofs),
    quantiseKv(spot, input),
    ...(isDearest ? findStepRemedies(spot.cell, input, roofs) : []),
  ]
    .filter((remedy) => remedy !== null)
    .filter((remedy) => remedy.gain_ratio >= SMALLEST_GAIN)
    .sort((a, b) => b.gain_ratio - a.gain_ratio);
}

/** Memory bound: fewer bytes take less time in proportion, until arithmetic is what takes longest. */
function requantise(spot: HotSpot, roofs: Roofs): Remedy | null {
  if (spot.bound !== "memory") return null;
  const tensors = spot.units.flatMap((unit) =>
    unit.tensors.filter(({ use, role }) => (use === "matrix" || use === "experts") && isPartOf(role, spot.role)),
  );
  const weightBytes = sumBytes(tensors);
  const target = LADDER.map((name) => ggmlTypeByName(name)).find(
    (type) => weightBytes - sumBytes(tensors, type) >= SMALLEST_TYPE_SAVING * weightBytes,
  );
  if (target === undefined || weightBytes === 0) return null;
  // Of experts only those that are met are read.
  const read = spot.weightBytesMoved / weightBytes;
  const bytes = spot.bytesMoved - (weightBytes - sumBytes(tensors, target)) * read;
  const ms = Math.max((spot.ms * bytes) / spot.bytesMoved, Math.min(spot.ms, computeMs(spot.flops, roofs)));
  const from = nameTypes(tensors);
  return makeRemedy(
    "weights",
    `weights of ${nameUnits(spot)} in ${target.name} instead of ${from} (lossy: compare the output)`,
    (spot.ms - ms) / findStepMs(spot.cell),
    `it would move ${sayBytes(bytes)} instead of ${sayBytes(spot.bytesMoved)}: ${sayMs(ms)} instead of ${sayMs(spot.ms)} at the rate measured`,
  );
}

/** Long contexts: what grew with the context is reading keys and values. */
function quantiseKv(spot: HotSpot, { cells }: BottleneckInput): Remedy | null {
  const { cell } = spot;
  if (spot.kvBytesMoved === 0 || cell.context === 0 || spot.bound !== "memory") return null;
  const shorter = cells
    .filter((other) => other.phase === cell.phase && other.rows === cell.rows && other.context < cell.context)
    .sort((a, b) => a.context - b.context)[0];
  const before = shorter === undefined ? null : findSpotMs(spot, shorter);
  if (shorter === undefined || before === null) return null;
  const grownMs = spot.ms - before;
  return makeRemedy(
    "kv",
    "keys and values in q8_0 instead of f16 (the engine can, stages do not offer it yet)",
    (grownMs * (1 - Q8_0_OVER_F16)) / findStepMs(cell),
    `it takes ${sayMs(before)} at ${shorter.context} tokens of context and ${sayMs(spot.ms)} at ${cell.context}; q8_0 has ${saySharePercent(Q8_0_OVER_F16)} of the bytes`,
  );
}

/** Bytes of the tensors as they are, or with all that are larger put into `type`. */
function sumBytes(tensors: readonly TensorWork[], type?: GgmlType): number {
  return tensors.reduce((sum, tensor) => sum + (type === undefined ? tensor.bytes : bytesAs(tensor, type)), 0);
}

function bytesAs(tensor: TensorWork, type: GgmlType): number {
  if ((tensor.dims[0] ?? 1) % type.blockElements !== 0) return tensor.bytes;
  return Math.min(tensor.bytes, tensorBytes(type, tensor.dims));
}

/** The type of most bytes, and that there are others. */
function nameTypes(tensors: readonly TensorWork[]): string {
  const bytes = new Map<string, number>();
  for (const tensor of tensors) bytes.set(tensor.type, (bytes.get(tensor.type) ?? 0) + tensor.bytes);
  const [first, second] = [...bytes].sort((a, b) => b[1] - a[1]);
  if (first === undefined) return "what they are in";
  return second === undefined ? first[0] : `mostly ${first[0]}`;
}

function nameUnits({ units, unitClass, role }: HotSpot): string {
  const who = units.length === 1 ? (units[0]?.name ?? unitClass) : `all ${units.length} units of ${unitClass}`;
  return role === "total" || role === who ? `the ${who}`.replace(/^the all/, "all") : `${role} in ${who}`;
}
