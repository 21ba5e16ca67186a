import type { GgufScalarType, GgufValue } from "../../gguf/index.ts";

/** Makers of metadata values, so that specs and recipes read as key and value. */

export function uint32(value: number): GgufValue {
  return { type: "uint32", value };
}

export function float32(value: number): GgufValue {
  return { type: "float32", value: Math.fround(value) };
}

export function bool(value: boolean): GgufValue {
  return { type: "bool", value };
}

export function text(value: string): GgufValue {
  return { type: "string", value };
}

export function array(itemType: GgufScalarType, value: readonly (number | boolean | string)[]): GgufValue {
  return { type: "array", itemType, value };
}
