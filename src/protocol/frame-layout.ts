/**
 * The frame's bytes, version 2. Little-endian throughout (the engine runs on no other hosts), no padding but what is
 * named, padding is zero.
 *
 *   header   56 bytes, below
 *   runs     40 bytes each:  session id 16, fence u32, branch u32, position u32, rows u32, slot u16, output u8,
 *            top logprobs u8 (0 = none wanted, else their number + 1), following token u32 (0 = none, else its id + 1)
 *   traces   40 bytes each:  stage u16, 0 x 2, bytes in u32, queue u64, compute u64, serialize u64, hop u64, in ns
 *   pads     slots, u16 each, then zeros up to a multiple of 8
 *   tokens   i32 each, then zeros up to a multiple of 8
 *   hidden   f32[hiddenRows, width]; starts at a multiple of 8 from the frame's start
 *   trailer  CRC32C of everything before it, u32
 */

/** "NDL1". */
export const FRAME_MAGIC = 0x314c444e;
export const FRAME_VERSION = 2;
/** The one kind of frame so far: a micro-batch of a step. */
export const FRAME_KIND_STEP = 1;

export const HEADER_BYTES = 56;
export const RUN_BYTES = 40;
export const TRACE_BYTES = 40;
export const TRAILER_BYTES = 4;

/** Offsets in the header. */
export const AT = {
  magic: 0, // u32
  version: 4, // u16
  kind: 6, // u16
  flags: 8, // u32, bits 0-1: how closely the stages observe the step; the others 0
  totalBytes: 12, // u32, header and trailer included
  epoch: 16, // u64
  stepId: 24, // u64
  runCount: 32, // u16
  traceCount: 34, // u16
  dtype: 36, // u8, then 0 x 3
  rows: 40, // u32
  hiddenRows: 44, // u32
  width: 48, // u32
  padCount: 52, // u16, then 0 x 2
} as const;

/** Offsets in a run. */
export const RUN = {
  session: 0,
  fence: 16,
  branch: 20,
  position: 24,
  rows: 28,
  slot: 32,
  output: 34,
  topLogprobs: 35,
  following: 36,
} as const;

/** Offsets in a trace. */
export const TRACE = { stage: 0, bytesIn: 4, queueNs: 8, computeNs: 16, serializeNs: 24, hopNs: 32 } as const;

export const DTYPE_NONE = 0;
export const DTYPE_F32 = 1;

/** In the order of their codes on the wire. */
export const OUTPUT_CODES = ["none", "last", "all"] as const;

/** Token ids are an i32 in the engine. */
export const MAX_TOKEN_ID = 0x7fffffff;

/** The engine counts positions in an i32. */
export const MAX_POSITION = 0x7fffffff;

export interface FrameCounts {
  readonly runs: number;
  readonly traces: number;
  readonly pads: number;
  readonly rows: number;
  /** hiddenRows * width. */
  readonly hiddenValues: number;
}

export interface FrameLayout {
  readonly padsAt: number;
  readonly tokensAt: number;
  readonly hiddenAt: number;
  readonly trailerAt: number;
}

/** Where the sections of a frame with these counts start, and its length. */
export function layoutFrame(counts: FrameCounts): FrameLayout {
  const padsAt = HEADER_BYTES + counts.runs * RUN_BYTES + counts.traces * TRACE_BYTES;
  const tokensAt = padsAt + Math.ceil(counts.pads / 4) * 8;
  const hiddenAt = tokensAt + Math.ceil(counts.rows / 2) * 8;
  return { padsAt, tokensAt, hiddenAt, trailerAt: hiddenAt + counts.hiddenValues * 4 };
}
