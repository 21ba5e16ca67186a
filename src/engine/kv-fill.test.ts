import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { repeatCells } from "./kv-fill.ts";
import { parseSequenceState } from "./kv-state.ts";

const ROW_BYTES = 2;

/** State of a sequence in the second of two streams: one cache for each entry, with so many layers. */
function makeState(caches: readonly number[], cells: number, sequencesPerCell = 1): Uint8Array {
  const words: number[] = [0x12345678, 1];
  const bytes: number[] = [];
  const flush = (): void => {
    for (const word of words.splice(0)) for (let i = 0; i < 4; i++) bytes.push((word >>> (8 * i)) & 0xff);
  };
  for (const layers of caches) {
    words.push(2, 0, cells);
    for (let cell = 0; cell < cells; cell++) {
      words.push(cell + 90, sequencesPerCell, ...Array.from({ length: sequencesPerCell }, () => 1));
    }
    words.push(0, layers);
    for (let i = 0; i < 2 * layers; i++) {
      words.push(1, ROW_BYTES, 0);
      flush();
      for (let at = 0; at < cells * ROW_BYTES; at++) bytes.push((16 * i + at) & 0xff);
    }
  }
  flush();
  return Uint8Array.from(bytes);
}

describe("a fabricated state", () => {
  it("repeats the rows of each layer and keeps everything else", () => {
    const state = must(repeatCells(makeState([2, 1], 3), [2, 1], 7), "state");
    expect(new DataView(state.buffer).getUint32(0, true)).toBe(0x12345678);
    const caches = parseSequenceState(state, [2, 1]);
    expect(caches.map((layers) => layers.length)).toEqual([2, 1]);
    expect([...must(caches[0]?.[1]?.kBytes, "keys")]).toEqual([16, 17, 18, 19, 20, 21, 16, 17, 18, 19, 20, 21, 16, 17]);
    expect([...must(caches[1]?.[0]?.vBytes, "values")].slice(-4)).toEqual([20, 21, 16, 17]);
    const words = new Uint32Array(state.slice(8, 8 + 4 * 9).buffer);
    expect([...words]).toEqual([2, 0, 7, 0, 1, 1, 1, 1, 1]); // streams, cells of each; position, sequences, sequence
  });

  it("is not made of what is laid out otherwise", () => {
    const state = makeState([2], 3);
    expect(repeatCells(state, [3], 7)).toBeNull();
    expect(repeatCells(state, [2, 1], 7)).toBeNull();
    expect(repeatCells(state.subarray(0, state.length - 1), [2], 7)).toBeNull();
    expect(repeatCells(Uint8Array.of(...state, 0), [2], 7)).toBeNull();
    expect(repeatCells(makeState([2], 3, 2), [2], 7)).toBeNull();
    expect(repeatCells(new Uint8Array(3), [2], 7)).toBeNull();
  });

  it("is not made larger than memory allows", () => {
    expect(repeatCells(makeState([2], 3), [2], 2 ** 28)).toBeNull();
  });
});
