/** Larger states are not made: computing the rows takes less memory. */
const MAX_STATE_BYTES = 2 ** 30;

/** Position, number of sequences, sequence: three words. */
const CELL_BYTES = 12;

/**
 * Makes an engine's state of one sequence shorter, or longer by repeating its cells: positions are numbered from 0, keys
 * and values of position i are those of position i modulo the cells that there are.
 *
 * @param blob as `parseSequenceState` describes it
 * @param layerCounts layers of each cache
 * @returns null for a state that is laid out otherwise, or that would be too large
 * @see llama-kv-cache.cpp `state_write` (llama.cpp de3ff815)
 */
export function repeatCells(blob: Uint8Array, layerCounts: readonly number[], tokens: number): Uint8Array | null {
  if (tokens * CELL_BYTES > MAX_STATE_BYTES) return null;
  const reader = new StateReader(blob);
  const parts: Uint8Array[] = [reader.take(8)]; // magic, sequence id
  let bytes = 8;
  const put = (part: Uint8Array): void => {
    parts.push(part);
    bytes += part.byteLength;
  };
  for (const layers of layerCounts) {
    const streams = reader.u32();
    put(words(streams));
    for (let stream = 0; stream < streams; stream++) {
      const cells = reader.u32();
      put(words(cells === 0 ? 0 : tokens));
      if (cells === 0) continue;
      let sequence = 0;
      for (let cell = 0; cell < cells; cell++) {
        reader.u32(); // position
        if (reader.u32() !== 1) return null;
        sequence = reader.u32();
      }
      put(numberCells(tokens, sequence));
      const header = reader.take(8); // whether values are transposed, layers
      if (!matches(header, words(0, layers))) return null;
      put(header);
      for (let i = 0; i < 2 * layers; i++) {
        put(reader.take(4)); // type
        const rowBytes = reader.take(8);
        put(rowBytes);
        const row = new DataView(rowBytes.buffer, rowBytes.byteOffset).getUint32(0, true);
        if (reader.left < row * cells || bytes + row * tokens > MAX_STATE_BYTES) return null;
        put(repeat(reader.take(row * cells), row * tokens));
      }
    }
  }
  return reader.left === 0 ? join(parts, bytes) : null;
}

/** A state that ends early reads as zeros, which no check above lets pass. */
class StateReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.byteLength - this.#at;
  }

  u32(): number {
    const word = this.take(4);
    return new DataView(word.buffer, word.byteOffset).getUint32(0, true);
  }

  take(count: number): Uint8Array {
    const taken = this.#bytes.subarray(this.#at, this.#at + count);
    this.#at += count;
    if (taken.byteLength === count) return taken;
    const padded = new Uint8Array(count);
    padded.set(taken);
    return padded;
  }
}

function numberCells(count: number, sequence: number): Uint8Array {
  const cells = new Uint32Array((count * CELL_BYTES) / 4);
  for (let position = 0; position < count; position++) {
    cells[3 * position] = position;
    cells[3 * position + 1] = 1;
    cells[3 * position + 2] = sequence;
  }
  return new Uint8Array(cells.buffer);
}

function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function matches(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}

function repeat(source: Uint8Array, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += source.byteLength) out.set(source.subarray(0, bytes - at), at);
  return out;
}

function join(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.byteLength;
  }
  return out;
}
