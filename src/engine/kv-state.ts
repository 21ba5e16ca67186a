import { NoodleError } from "../common/index.ts";

/** K and V bytes of one cache layer, in cell order. */
export interface CacheLayer {
  readonly kBytes: Uint8Array;
  readonly vBytes: Uint8Array;
}

/**
 * Reads the engine's serialised state of one sequence: a magic and the id, then one cache, or two for models with
 * sliding-window layers (dense layers first, sliding ones second). Views into `blob`.
 *
 * @param layerCounts layers of each cache, to catch a state that is not what we think.
 * @see llama-kv-cache.cpp `state_write` (llama.cpp de3ff815)
 */
export function parseSequenceState(
  blob: Uint8Array,
  layerCounts: readonly number[],
): readonly (readonly CacheLayer[])[] {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  let at = 8; // magic, sequence id
  const u32 = (): number => {
    const value = view.getUint32(at, true);
    at += 4;
    return value;
  };
  const take = (bytes: number): Uint8Array => {
    if (at + bytes > blob.byteLength)
      throw new NoodleError("ENGINE_FAILED", `state of ${blob.byteLength} bytes ends inside a layer`);
    at += bytes;
    return blob.subarray(at - bytes, at);
  };
  return layerCounts.map((expected) => {
    const streams = u32();
    let layers: CacheLayer[] | undefined;
    for (let stream = 0; stream < streams; stream++) {
      const cells = u32();
      if (cells === 0) continue;
      if (layers !== undefined) throw new NoodleError("ENGINE_FAILED", "one sequence lies in two cache streams");
      for (let cell = 0; cell < cells; cell++) {
        at += 4; // position
        const sequenceIds = u32();
        at += 4 * sequenceIds;
      }
      const transposed = u32() !== 0;
      const count = u32();
      if (transposed || count !== expected) {
        throw new NoodleError(
          "ENGINE_FAILED",
          `state holds ${count} layers${transposed ? " with transposed values" : ""}, ${expected} were expected`,
        );
      }
      const readRows = (): Uint8Array[] =>
        Array.from({ length: count }, () => {
          at += 4; // type
          const rowBytes = Number(view.getBigUint64(at, true));
          at += 8;
          return take(rowBytes * cells);
        });
      const keys = readRows();
      const values = readRows();
      layers = keys.map((kBytes, i) => ({ kBytes, vBytes: values[i] ?? new Uint8Array() }));
    }
    const empty = new Uint8Array();
    return layers ?? Array.from({ length: expected }, () => ({ kBytes: empty, vBytes: empty }));
  });
}
