import { NoodleError } from "../common/index.ts";
import { FRAME_MAX_BYTES } from "./constants.ts";
import { crc32c } from "./crc32c.ts";
import {
  checkPads,
  type Frame,
  FRAME_OBSERVE,
  type FrameObserve,
  type FrameRun,
  type FrameTrace,
  MAX_TOP_LOGPROBS,
} from "./frame.ts";
import {
  AT,
  DTYPE_F32,
  DTYPE_NONE,
  FRAME_KIND_STEP,
  FRAME_MAGIC,
  FRAME_VERSION,
  HEADER_BYTES,
  layoutFrame,
  MAX_POSITION,
  MAX_TOKEN_ID,
  OUTPUT_CODES,
  RUN,
  RUN_BYTES,
  TRACE,
  TRACE_BYTES,
  TRAILER_BYTES,
} from "./frame-layout.ts";
import { SESSION_ID_BYTES } from "./session-id.ts";

export interface FrameLimits {
  /** The receiver's plan; another one is refused with STALE_EPOCH. */
  readonly epoch: number | "any";
  /** nEmbd of the model. */
  readonly width: number | "any";
  readonly maxRows: number;
  /** Of runs, and of pads. */
  readonly maxRuns: number;
}

/** More stages than any plan has. */
const MAX_TRACES = 1024;
const TWO_32 = 0x100000000;

/**
 * Reads a frame, trusting nothing: the checksum first, then every count against the limits and against the bytes that
 * are really there, before anything is made from it.
 *
 * `tokens` and `hidden` of the result are views into `bytes` where the alignment allows, copies where not: treat them
 * as borrowed.
 *
 * @throws FRAME_CORRUPT when the checksum is wrong
 * @throws FRAME_INVALID when the bytes are sound but are not a frame of this protocol within the limits
 * @throws STALE_EPOCH when it belongs to another plan
 */
export function decodeFrame(bytes: Uint8Array, limits: FrameLimits): Frame {
  const length = bytes.length;
  if (length < HEADER_BYTES + TRAILER_BYTES || length > FRAME_MAX_BYTES) {
    throw invalid(`frame of ${length} bytes, the limits are ${HEADER_BYTES + TRAILER_BYTES} and ${FRAME_MAX_BYTES}`);
  }
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, length);
  const trailerAt = length - TRAILER_BYTES;
  const checksum = crc32c(buffer.subarray(0, trailerAt));
  const stored = buffer.readUInt32LE(trailerAt);
  if (checksum !== stored) {
    throw new NoodleError(
      "FRAME_CORRUPT",
      `frame of ${length} bytes: checksum ${checksum}, its trailer says ${stored}`,
      {
        details: { bytes: length, checksum, stored },
      },
    );
  }
  checkHeader(buffer);
  const epoch = readU64(buffer, AT.epoch, "epoch");
  if (limits.epoch !== "any" && epoch !== limits.epoch) {
    throw new NoodleError("STALE_EPOCH", `frame of epoch ${epoch}, expected ${limits.epoch}`, {
      details: { epoch, haveEpoch: limits.epoch },
    });
  }

  const runCount = requireRange(buffer.readUInt16LE(AT.runCount), 1, limits.maxRuns, "runs");
  const traceCount = requireRange(buffer.readUInt16LE(AT.traceCount), 0, MAX_TRACES, "traces");
  const padCount = requireRange(buffer.readUInt16LE(AT.padCount), 0, limits.maxRuns, "pads");
  const rows = requireRange(buffer.readUInt32LE(AT.rows), 1, limits.maxRows, "rows");
  const hiddenRows = requireRange(buffer.readUInt32LE(AT.hiddenRows), 0, rows, "hidden rows");
  const width = buffer.readUInt32LE(AT.width);
  const hasHidden = checkDtype(buffer[AT.dtype] as number, hiddenRows, width, limits.width);
  const layout = layoutFrame({
    runs: runCount,
    traces: traceCount,
    pads: padCount,
    rows,
    hiddenValues: hiddenRows * width,
  });
  if (layout.trailerAt !== trailerAt) {
    throw invalid(`the frame's counts need ${layout.trailerAt + TRAILER_BYTES} bytes, it has ${length}`);
  }

  const runs: FrameRun[] = [];
  let at = HEADER_BYTES;
  let runRows = 0;
  for (let index = 0; index < runCount; index++, at += RUN_BYTES) {
    const run = readRun(buffer, at);
    runRows += run.rows;
    runs.push(run);
  }
  if (runRows !== rows) throw invalid(`the runs have ${runRows} rows, the header says ${rows}`);
  const traces: FrameTrace[] = [];
  for (let index = 0; index < traceCount; index++, at += TRACE_BYTES) traces.push(readTrace(buffer, at));
  const pads: number[] = [];
  for (let index = 0; index < padCount; index++, at += 2) pads.push(buffer.readUInt16LE(at));
  requireZero(buffer, at, layout.tokensAt);
  checkPads(runs, pads);
  requireZero(buffer, layout.tokensAt + rows * 4, layout.hiddenAt);

  return {
    epoch,
    stepId: readU64(buffer, AT.stepId, "step id"),
    observe: readFlags(buffer),
    runs,
    traces,
    pads,
    tokens: viewI32(bytes, layout.tokensAt, rows),
    width,
    hidden: hasHidden ? viewF32(bytes, layout.hiddenAt, hiddenRows * width) : null,
  };
}

function checkHeader(buffer: Buffer): void {
  const magic = buffer.readUInt32LE(AT.magic);
  if (magic !== FRAME_MAGIC) throw invalid(`not a frame: it starts with 0x${magic.toString(16)}`);
  const version = buffer.readUInt16LE(AT.version);
  if (version !== FRAME_VERSION) throw invalid(`frame version ${version}, this release reads ${FRAME_VERSION}`);
  const kind = buffer.readUInt16LE(AT.kind);
  if (kind !== FRAME_KIND_STEP) throw invalid(`frame kind ${kind}`);
  const totalBytes = buffer.readUInt32LE(AT.totalBytes);
  if (totalBytes !== buffer.length) throw invalid(`the header says ${totalBytes} bytes, there are ${buffer.length}`);
  requireZero(buffer, AT.dtype + 1, AT.rows);
  requireZero(buffer, AT.padCount + 2, HEADER_BYTES);
}

function readFlags(buffer: Buffer): FrameObserve {
  const flags = buffer.readUInt32LE(AT.flags);
  const observe = FRAME_OBSERVE[flags];
  if (observe === undefined) throw invalid(`flags 0x${flags.toString(16)} of the frame are not known`);
  return observe;
}

/** @returns whether hidden states are there */
function checkDtype(dtype: number, hiddenRows: number, width: number, expected: number | "any"): boolean {
  if (dtype === DTYPE_NONE) {
    if (hiddenRows !== 0 || width !== 0) throw invalid(`${hiddenRows} hidden rows of ${width} without a type`);
    return false;
  }
  if (dtype !== DTYPE_F32) throw invalid(`hidden states of unknown type ${dtype}`);
  if (width === 0 || (expected !== "any" && width !== expected)) {
    throw invalid(`hidden states are ${width} wide, expected ${expected}`);
  }
  return true;
}

function readRun(buffer: Buffer, at: number): FrameRun {
  const rows = buffer.readUInt32LE(at + RUN.rows);
  const position = buffer.readUInt32LE(at + RUN.position);
  if (rows < 1) throw invalid("a run has no rows");
  if (position + rows > MAX_POSITION) throw invalid(`a run of ${rows} rows at position ${position}`);
  const code = buffer[at + RUN.output] as number;
  const output = OUTPUT_CODES[code];
  if (output === undefined) throw invalid(`run output ${code}`);
  const alternatives = buffer[at + RUN.topLogprobs] as number;
  if (alternatives > MAX_TOP_LOGPROBS + 1) {
    throw invalid(`${alternatives - 1} log-probabilities of a row, the limit is ${MAX_TOP_LOGPROBS}`);
  }
  const next = buffer.readUInt32LE(at + RUN.following);
  if (next > MAX_TOKEN_ID + 1) throw invalid(`a following token ${next - 1}`);
  return {
    sessionId: buffer.toString("hex", at + RUN.session, at + RUN.session + SESSION_ID_BYTES),
    fence: buffer.readUInt32LE(at + RUN.fence),
    branch: buffer.readUInt32LE(at + RUN.branch),
    position,
    rows,
    slot: buffer.readUInt16LE(at + RUN.slot),
    output,
    topLogprobs: alternatives === 0 ? null : alternatives - 1,
    following: next === 0 ? null : next - 1,
  };
}

function readTrace(buffer: Buffer, at: number): FrameTrace {
  requireZero(buffer, at + TRACE.stage + 2, at + TRACE.bytesIn);
  return {
    stage: buffer.readUInt16LE(at + TRACE.stage),
    queueNs: readU64(buffer, at + TRACE.queueNs, "queueNs"),
    computeNs: readU64(buffer, at + TRACE.computeNs, "computeNs"),
    serializeNs: readU64(buffer, at + TRACE.serializeNs, "serializeNs"),
    hopNs: readU64(buffer, at + TRACE.hopNs, "hopNs"),
    bytesIn: buffer.readUInt32LE(at + TRACE.bytesIn),
  };
}

function viewI32(bytes: Uint8Array, at: number, count: number): Int32Array {
  const start = bytes.byteOffset + at;
  if (start % 4 === 0) return new Int32Array(bytes.buffer, start, count);
  return new Int32Array(copyBytes(bytes, at, count * 4));
}

function viewF32(bytes: Uint8Array, at: number, count: number): Float32Array {
  const start = bytes.byteOffset + at;
  if (start % 4 === 0) return new Float32Array(bytes.buffer, start, count);
  return new Float32Array(copyBytes(bytes, at, count * 4));
}

function copyBytes(bytes: Uint8Array, at: number, count: number): ArrayBuffer {
  const copy = new Uint8Array(count);
  copy.set(bytes.subarray(at, at + count));
  return copy.buffer;
}

function readU64(buffer: Buffer, at: number, what: string): number {
  const value = buffer.readUInt32LE(at + 4) * TWO_32 + buffer.readUInt32LE(at);
  if (!Number.isSafeInteger(value)) throw invalid(`${what} is above 2^53`);
  return value;
}

function requireRange(value: number, min: number, max: number, what: string): number {
  if (value < min || value > max) throw invalid(`frame of ${value} ${what}, the limits are ${min} and ${max}`);
  return value;
}

function requireZero(buffer: Buffer, from: number, to: number): void {
  for (let at = from; at < to; at++) if (buffer[at] !== 0) throw invalid(`byte ${at} of the frame must be 0`);
}

function invalid(message: string): NoodleError {
  return new NoodleError("FRAME_INVALID", message);
}
