import { NoodleError } from "../common/index.ts";
import { DEFAULT_ALIGNMENT, MAX_ALIGNMENT, MIN_ALIGNMENT, checkLimit } from "./limits.ts";
import type { GgufMetadata, GgufScalar } from "./types.ts";
import { ALIGNMENT_KEY } from "./wire.ts";

/** Readers of single keys: `undefined` when the key is absent, `GGUF_MALFORMED` when it holds something else. */

export function getString(metadata: GgufMetadata, key: string): string | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type === "string" && typeof entry.value === "string") return entry.value;
  throw wrongType(key, "a string", entry.type);
}

/** Any integer or float type; 64-bit integers must be exact as a number. */
export function getNumber(metadata: GgufMetadata, key: string): number | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (typeof entry.value === "number") return entry.value;
  if (typeof entry.value === "bigint") return toSafeInteger(entry.value, `metadata key "${key}"`);
  throw wrongType(key, "a number", entry.type);
}

export function getBoolean(metadata: GgufMetadata, key: string): boolean | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (typeof entry.value === "boolean") return entry.value;
  throw wrongType(key, "a boolean", entry.type);
}

/** The items of an array of any type; `metadata.get(key)` has the items' type. */
export function getArray(metadata: GgufMetadata, key: string): readonly GgufScalar[] | undefined {
  const entry = metadata.get(key);
  if (entry === undefined) return undefined;
  if (entry.type === "array") return entry.value;
  throw wrongType(key, "an array", entry.type);
}

/**
 * Alignment of the data section: `general.alignment`, or 32.
 *
 * @throws NoodleError `GGUF_MALFORMED` unless it is a uint32 and a power of two from 8; `GGUF_LIMIT_EXCEEDED`
 */
export function getAlignment(metadata: GgufMetadata): number {
  const entry = metadata.get(ALIGNMENT_KEY);
  if (entry === undefined) return DEFAULT_ALIGNMENT;
  if (entry.type !== "uint32" || typeof entry.value !== "number")
    throw wrongType(ALIGNMENT_KEY, "a uint32", entry.type);
  checkAlignment(entry.value);
  return entry.value;
}

/** @throws NoodleError `GGUF_MALFORMED`, `GGUF_LIMIT_EXCEEDED` */
export function checkAlignment(alignment: number): void {
  checkLimit(ALIGNMENT_KEY, alignment, MAX_ALIGNMENT);
  if (!Number.isInteger(Math.log2(alignment)) || alignment < MIN_ALIGNMENT) {
    throw new NoodleError(
      "GGUF_MALFORMED",
      `${ALIGNMENT_KEY} is ${alignment}, must be a power of two from ${MIN_ALIGNMENT} to ${MAX_ALIGNMENT}`,
      { details: { alignment } },
    );
  }
}

/** @throws NoodleError `GGUF_MALFORMED` for a value that a number cannot hold exactly. */
export function toSafeInteger(value: bigint, what: string): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new NoodleError("GGUF_MALFORMED", `${what} is ${value}, more than 2^53 - 1 in magnitude`, {
    details: { value: value.toString() },
  });
}

function wrongType(key: string, wanted: string, found: string): NoodleError {
  return new NoodleError("GGUF_MALFORMED", `metadata key "${key}" must be ${wanted}, is of type ${found}`, {
    details: { key, found },
  });
}
