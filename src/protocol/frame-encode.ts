import { NoodleError } from "../common/index.ts";
import { FRAME_MAX_BYTES } from "./constants.ts";
import { crc32c } from "./crc32c.ts";
import { checkPads, type Frame, FRAME_OBSERVE, type FrameRun, type FrameTrace, MAX_TOP_LOGPROBS } from "./frame.ts";
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

const U16 = 0xffff;
const U32 = 0xffffffff;
const TWO_32 = 0x100000000;

/** Bytes that `encodeFrame` will produce. */
export function frameBytes(frame: Frame): number {
  return layoutOf(frame).trailerAt + TRAILER_BYTES;
}

/**
 * @returns a new buffer; nothing of `frame` is kept
 * @throws FRAME_INVALID when the frame contradicts itself or a number does not fit its field
 */
export function encodeFrame(frame: Frame): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(frameBytes(frame));
  writeFrame(frame, bytes);
  return bytes;
}

/**
 * Writes the frame over all of `target`, which must be `frameBytes(frame)` long.
 *
 * @throws FRAME_INVALID as `encodeFrame`
 */
export function writeFrame(frame: Frame, target: Uint8Array): void {
  const { runs, traces, pads, tokens, hidden, width } = frame;
  const layout = layoutOf(frame);
  checkConsistency(frame, layout.trailerAt + TRAILER_BYTES);
  const bytes = Buffer.from(target.buffer, target.byteOffset, target.length);
  bytes.fill(0, 0, HEADER_BYTES);
  bytes.writeUInt32LE(FRAME_MAGIC, AT.magic);
  bytes.writeUInt16LE(FRAME_VERSION, AT.version);
  bytes.writeUInt16LE(FRAME_KIND_STEP, AT.kind);
  const observe = FRAME_OBSERVE.indexOf(frame.observe);
  if (observe < 0) throw invalid(`observation level "${frame.observe}"`);
  bytes.writeUInt32LE(observe, AT.flags);
  bytes.writeUInt32LE(target.length, AT.totalBytes);
  writeU64(bytes, frame.epoch, AT.epoch, "epoch");
  writeU64(bytes, frame.stepId, AT.stepId, "step id");
  bytes.writeUInt16LE(runs.length, AT.runCount);
  bytes.writeUInt16LE(traces.length, AT.traceCount);
  bytes[AT.dtype] = hidden === null ? DTYPE_NONE : DTYPE_F32;
  bytes.writeUInt32LE(tokens.length, AT.rows);
  bytes.writeUInt32LE(hidden === null ? 0 : hidden.length / width, AT.hiddenRows);
  bytes.writeUInt32LE(width, AT.width);
  bytes.writeUInt16LE(pads.length, AT.padCount);

  let at = HEADER_BYTES;
  for (const run of runs) {
    writeRun(bytes, run, at);
    at += RUN_BYTES;
  }
  for (const trace of traces) {
    writeTrace(bytes, trace, at);
    at += TRACE_BYTES;
  }
  for (const slot of pads) at = bytes.writeUInt16LE(requireField(slot, U16, "pad"), at);
  bytes.fill(0, at, layout.tokensAt);
  bytes.set(new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength), layout.tokensAt);
  bytes.fill(0, layout.tokensAt + tokens.byteLength, layout.hiddenAt);
  if (hidden !== null) {
    bytes.set(new Uint8Array(hidden.buffer, hidden.byteOffset, hidden.byteLength), layout.hiddenAt);
  }
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, layout.trailerAt)), layout.trailerAt);
}

function layoutOf(frame: Frame): ReturnType<typeof layoutFrame> {
  return layoutFrame({
    runs: frame.runs.length,
    traces: frame.traces.length,
    pads: frame.pads.length,
    rows: frame.tokens.length,
    hiddenValues: frame.hidden?.length ?? 0,
  });
}

function checkConsistency(frame: Frame, totalBytes: number): void {
  const { runs, traces, pads, tokens, hidden, width } = frame;
  if (runs.length === 0 || runs.length > U16) throw invalid(`a frame has 1 to ${U16} runs, not ${runs.length}`);
  if (traces.length > U16) throw invalid(`a frame has at most ${U16} traces, not ${traces.length}`);
  if (pads.length > U16) throw invalid(`a frame has at most ${U16} pads, not ${pads.length}`);
  checkPads(runs, pads);
  if (totalBytes > FRAME_MAX_BYTES) throw invalid(`frame of ${totalBytes} bytes, the limit is ${FRAME_MAX_BYTES}`);
  let rows = 0;
  for (const run of runs) rows += run.rows;
  if (rows !== tokens.length) throw invalid(`the runs have ${rows} rows, but there are ${tokens.length} tokens`);
  if (hidden === null) {
    if (width !== 0) throw invalid(`width ${width} without hidden states`);
  } else {
    requireField(width, U32, "width");
    if (width === 0 || hidden.length % width !== 0 || hidden.length / width > rows) {
      throw invalid(`${hidden.length} hidden values are not at most ${rows} rows of ${width}`);
    }
  }
}

function writeRun(bytes: Buffer, run: FrameRun, at: number): void {
  if (run.rows < 1) throw invalid(`a run has at least 1 row, not ${run.rows}`);
  if (run.position + run.rows > MAX_POSITION) throw invalid(`a run of ${run.rows} rows at position ${run.position}`);
  if (run.sessionId.length !== 2 * SESSION_ID_BYTES) throw invalid(`"${run.sessionId}" is not a session id`);
  // `write` stops at the first character that is no hexadecimal digit.
  if (bytes.write(run.sessionId, at + RUN.session, SESSION_ID_BYTES, "hex") !== SESSION_ID_BYTES) {
    throw invalid(`"${run.sessionId}" is not a session id`);
  }
  bytes.writeUInt32LE(requireField(run.fence, U32, "fence"), at + RUN.fence);
  bytes.writeUInt32LE(requireField(run.branch, U32, "branch"), at + RUN.branch);
  bytes.writeUInt32LE(requireField(run.position, U32, "position"), at + RUN.position);
  bytes.writeUInt32LE(requireField(run.rows, U32, "rows"), at + RUN.rows);
  bytes.writeUInt16LE(requireField(run.slot, U16, "slot"), at + RUN.slot);
  const output = OUTPUT_CODES.indexOf(run.output);
  if (output < 0) throw invalid(`run output "${run.output}"`);
  bytes[at + RUN.output] = output;
  const { topLogprobs, following } = run;
  bytes[at + RUN.topLogprobs] =
    topLogprobs === null ? 0 : requireField(topLogprobs, MAX_TOP_LOGPROBS, "top logprobs") + 1;
  const next = following === null ? 0 : requireField(following, MAX_TOKEN_ID, "following token") + 1;
  bytes.writeUInt32LE(next, at + RUN.following);
}

function writeTrace(bytes: Buffer, trace: FrameTrace, at: number): void {
  bytes.fill(0, at, at + TRACE.bytesIn);
  bytes.writeUInt16LE(requireField(trace.stage, U16, "stage"), at + TRACE.stage);
  bytes.writeUInt32LE(requireField(trace.bytesIn, U32, "bytesIn"), at + TRACE.bytesIn);
  writeU64(bytes, trace.queueNs, at + TRACE.queueNs, "queueNs");
  writeU64(bytes, trace.computeNs, at + TRACE.computeNs, "computeNs");
  writeU64(bytes, trace.serializeNs, at + TRACE.serializeNs, "serializeNs");
  writeU64(bytes, trace.hopNs, at + TRACE.hopNs, "hopNs");
}

function writeU64(bytes: Buffer, value: number, at: number, what: string): void {
  requireField(value, Number.MAX_SAFE_INTEGER, what);
  bytes.writeUInt32LE(value % TWO_32, at);
  bytes.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
}

function requireField(value: number, max: number, what: string): number {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw invalid(`${what} ${value} is not an integer from 0 to ${max}`);
  }
  return value;
}

function invalid(message: string): NoodleError {
  return new NoodleError("FRAME_INVALID", message);
}
