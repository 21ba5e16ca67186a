import { must } from "../common/index.ts";

/**
 * The integer arithmetic of the fake stage. Values have 20 bits, so f32 carries them exactly and any split gives the bits
 * of the undivided fake.
 */
const VALUE_MASK = 0xfffff;

/** Keys and values of one sequence: one entry for each block of the stage; i32[position, nEmbd], flat. */
export interface FakeKv {
  readonly keys: number[][];
  readonly values: number[][];
}

export function makeFakeKv(blocks: number): FakeKv {
  const lists = (): number[][] => Array.from({ length: blocks }, () => []);
  return { keys: lists(), values: lists() };
}

/** The first `numbers` numbers of each list. */
export function copyFakeKv(kv: FakeKv, numbers: number): FakeKv {
  const cut = (lists: readonly number[][]): number[][] => lists.map((list) => list.slice(0, numbers));
  return { keys: cut(kv.keys), values: cut(kv.values) };
}

export function cutFakeKv(kv: FakeKv, numbers: number): void {
  for (const list of [...kv.keys, ...kv.values]) list.length = Math.min(list.length, numbers);
}

export function embedToken(token: number, nEmbd: number): Int32Array {
  return Int32Array.from({ length: nEmbd }, (_, i) => mix(token + 1, i) & VALUE_MASK);
}

/** Writes a row's keys and values, each value chained to its predecessor's, and updates `hidden` in place. */
export function runFakeBlocks(blocks: readonly number[], kv: FakeKv, position: number, hidden: Int32Array): void {
  const nEmbd = hidden.length;
  for (const [index, block] of blocks.entries()) {
    const keys = must(kv.keys[index], "keys");
    const values = must(kv.values[index], "values");
    for (let i = 0; i < nEmbd; i++) {
      const neighbour = hidden[(i + 1) % nEmbd] ?? 0;
      const key = mix(mix(hidden[i] ?? 0, neighbour), block * 4096 + position) & VALUE_MASK;
      const before = position === 0 ? 0 : (values[(position - 1) * nEmbd + i] ?? 0);
      keys[position * nEmbd + i] = key;
      values[position * nEmbd + i] = mix(before, key) & VALUE_MASK;
    }
    for (let i = 0; i < nEmbd; i++) {
      hidden[i] = mix(hidden[i] ?? 0, values[position * nEmbd + i] ?? 0) & VALUE_MASK;
    }
  }
}

export function readFakeLogits(hidden: Int32Array, nVocab: number): Float32Array {
  let fold = 1;
  for (const value of hidden) fold = mix(fold, value);
  return Float32Array.from({ length: nVocab }, (_, id) => drawUnit(fold, id));
}

/** A number from 0 to 1 that is a function of both. */
export function drawUnit(a: number, b: number): number {
  return (mix(a, b) & VALUE_MASK) / (VALUE_MASK + 1);
}

/** Mixes two 32-bit values; the result is an unsigned 32-bit value. */
export function mix(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}
