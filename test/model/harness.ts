import {
  GREEDY,
  type KvLayer,
  type SamplingParams,
  type StageInput,
  type StageOutput,
} from "../../src/engine/index.ts";

/** What both an undivided stage and a chain of stages offer. */
export interface Runner {
  openSlot(slot: number, sampling: SamplingParams): void;
  closeSlot(slot: number): void;
  truncate(slot: number, position: number): void;
  forward(input: StageInput, options: { wantLogits: boolean }): StageOutput;
  readKv(slot: number): readonly KvLayer[];
}

export interface Trace {
  /** Logits of each call, in order. */
  readonly logits: readonly Float32Array[];
  readonly tokenIds: readonly number[];
  readonly kv: readonly KvLayer[];
}

/**
 * Rows of the calls of the exactness tests: below and above 64 rows, each kind of small call, and 1, 2 and 4 rows while
 * the cells grow from 500 to 520 (attention takes other kernels from 512 cells on), then 63 and 64 rows behind.
 */
export const LONG_SCHEDULE: readonly number[] = [
  64, 63, 4, 2, 1, 70, 100, 128, 68, 4, 2, 1, 1, 1, 4, 2, 1, 1, 2, 1, 4, 1, 1, 63, 64, 1,
];

/** The beginning of it: past every window of the small models, calls below and above 64 rows. */
export const SHORT_SCHEDULE: readonly number[] = LONG_SCHEDULE.slice(0, 6);

/** Larger calls that begin below 512 cells and end above; the text is cut back to here before each. */
const CROSSING_FROM = 490;
const CROSSING_ROWS = [63, 64, 4, 2];

/** Feeds a fixed pseudo-random text through `runner` in calls of the given rows; every call asks for its last row's logits. */
export function runTrace(runner: Runner, schedule: readonly number[], vocabSize: number, slot = 0): Trace {
  const logits: Float32Array[] = [];
  const tokenIds: number[] = [];
  runner.openSlot(slot, GREEDY);
  const feed = (position: number, rows: number): void => {
    const tokens = Int32Array.from({ length: rows }, (_, i) => tokenAt(position + i, vocabSize));
    const output = runner.forward(
      { runs: [{ slot, position, rows, output: "last" }], tokens, hidden: null },
      { wantLogits: true },
    );
    for (const sampled of output.sampled) {
      tokenIds.push(sampled.tokenId);
      if (sampled.logits !== null) logits.push(sampled.logits);
    }
  };
  let position = 0;
  for (const rows of schedule) {
    feed(position, rows);
    position += rows;
  }
  const kv = runner
    .readKv(slot)
    .map((layer) => ({ ...layer, kBytes: layer.kBytes.slice(), vBytes: layer.vBytes.slice() }));
  if (position > CROSSING_FROM) {
    for (const rows of CROSSING_ROWS) {
      runner.truncate(slot, CROSSING_FROM);
      feed(CROSSING_FROM, rows);
    }
  }
  runner.closeSlot(slot);
  return { logits, tokenIds, kv };
}

function tokenAt(position: number, vocabSize: number): number {
  return 5 + ((Math.imul(position + 17, 2654435761) >>> 8) % (vocabSize - 5));
}

/** In words, the first thing that differs between two traces bit for bit; null when nothing does. */
export function firstDifference(actual: Trace, expected: Trace): string | null {
  if (actual.logits.length !== expected.logits.length)
    return `${actual.logits.length} rows of logits, not ${expected.logits.length}`;
  for (const [i, row] of actual.logits.entries()) {
    const other = expected.logits[i];
    if (other === undefined || !sameBytes(bytesOf(row), bytesOf(other))) return `logits of call ${i}`;
  }
  if (actual.tokenIds.join() !== expected.tokenIds.join()) return "tokens";
  if (actual.kv.length !== expected.kv.length) return `${actual.kv.length} KV layers, not ${expected.kv.length}`;
  for (const [i, layer] of actual.kv.entries()) {
    const other = expected.kv[i];
    if (other === undefined || layer.block !== other.block) return `KV layer ${i} is block ${layer.block}`;
    if (layer.kBytes.length === 0 || !sameBytes(layer.kBytes, other.kBytes)) return `keys of block ${layer.block}`;
    if (layer.vBytes.length === 0 || !sameBytes(layer.vBytes, other.vBytes)) return `values of block ${layer.block}`;
  }
  return null;
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(b);
}
