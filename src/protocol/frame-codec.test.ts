import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ErrorCode, NoodleError } from "../common/index.ts";
import { crc32c } from "./crc32c.ts";
import {
  checkFrameShape,
  countOutputRows,
  type Frame,
  FRAME_OBSERVE,
  type FrameRun,
  MAX_TOP_LOGPROBS,
} from "./frame.ts";
import { decodeFrame, type FrameLimits } from "./frame-decode.ts";
import { encodeFrame } from "./frame-encode.ts";
import { AT, HEADER_BYTES, RUN, RUN_BYTES, TRACE, TRACE_BYTES } from "./frame-layout.ts";

const SEED = 20261123;
const LIMITS: FrameLimits = { epoch: "any", width: "any", maxRows: 4096, maxRuns: 64 };
const U32 = 0xffffffff;
const TRACE_OF_STAGE_0 = { stage: 0, queueNs: 0, computeNs: 0, serializeNs: 0, hopNs: 0, bytesIn: 0 };

const safeInteger = fc.maxSafeNat();
const runArbitrary = fc.record<FrameRun>({
  sessionId: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString("hex")),
  fence: fc.nat(U32),
  branch: fc.nat(U32),
  position: fc.nat(0x7fffffff - 100),
  rows: fc.integer({ min: 1, max: 9 }),
  slot: fc.nat(0xffff),
  output: fc.constantFrom("none", "last", "all"),
  topLogprobs: fc.option(fc.nat(MAX_TOP_LOGPROBS)),
  following: fc.option(fc.nat(0x7fffffff)),
});
const traceArbitrary = fc.record({
  stage: fc.nat(0xffff),
  queueNs: safeInteger,
  computeNs: safeInteger,
  serializeNs: safeInteger,
  hopNs: safeInteger,
  bytesIn: fc.nat(U32),
});

const frameArbitrary: fc.Arbitrary<Frame> = fc
  .record({
    epoch: safeInteger,
    stepId: safeInteger,
    observe: fc.constantFrom(...FRAME_OBSERVE),
    runs: fc.array(runArbitrary, { minLength: 1, maxLength: 6 }),
    traces: fc.array(traceArbitrary, { maxLength: 4 }),
    padSlots: fc.uniqueArray(fc.nat(0xffff), { maxLength: 9 }),
    hidden: fc.constantFrom<"none" | "every-row" | "output-rows">("none", "every-row", "output-rows"),
    width: fc.integer({ min: 1, max: 17 }),
    fill: fc.integer(),
  })
  .map(({ hidden, width, fill, padSlots, ...parts }) => {
    const rest = { ...parts, pads: padSlots.filter((slot) => parts.runs.every((run) => run.slot !== slot)) };
    const rows = rest.runs.reduce((sum, run) => sum + run.rows, 0);
    const tokens = Int32Array.from({ length: rows }, (_, index) => fill + index * 7919);
    if (hidden === "none") return { ...rest, tokens, width: 0, hidden: null };
    const hiddenRows = hidden === "every-row" ? rows : countOutputRows(rest.runs);
    // All bit patterns but NaN's, whose payload a copy of a number need not keep.
    const values = Float32Array.from({ length: hiddenRows * width }, (_, index) => Math.sin(fill + index) * 1e10);
    return { ...rest, tokens, width, hidden: values };
  });

function sampleFrame(change: Partial<Frame> = {}): Frame {
  return {
    epoch: 3,
    stepId: 2 ** 40 + 5,
    observe: "off",
    runs: [
      {
        sessionId: "00112233445566778899aabbccddeeff",
        fence: 1,
        branch: 0,
        position: 9,
        rows: 2,
        slot: 0,
        output: "last",
        topLogprobs: 5,
        following: null,
      },
      {
        sessionId: "ffeeddccbbaa99887766554433221100",
        fence: 7,
        branch: 2,
        position: 0,
        rows: 3,
        slot: 5,
        output: "all",
        topLogprobs: null,
        following: 77,
      },
    ],
    traces: [{ stage: 0, queueNs: 10, computeNs: 2 ** 33, serializeNs: 30, hopNs: 0, bytesIn: 7 }],
    pads: [1, 4, 3],
    tokens: Int32Array.of(1, 2, 3, 4, -5),
    width: 4,
    hidden: Float32Array.from({ length: 20 }, (_, index) => index / 3),
    ...change,
  };
}

function codeOf(action: () => unknown): ErrorCode | "no error" {
  try {
    action();
  } catch (error) {
    if (error instanceof NoodleError) return error.code;
    throw error;
  }
  return "no error";
}

/** Changes bytes and makes the checksum right again: what a faulty peer would send, not a faulty wire. */
function forge(frame: Frame, change: (view: DataView) => void): Uint8Array {
  const bytes = encodeFrame(frame);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  change(view);
  view.setUint32(bytes.length - 4, crc32c(bytes.subarray(0, bytes.length - 4)), true);
  return bytes;
}

describe("the frame codec", () => {
  it("gives back every frame as it was, at every alignment of the bytes", () => {
    fc.assert(
      fc.property(frameArbitrary, fc.nat(7), (frame, shift) => {
        const bytes = encodeFrame(frame);
        const shifted = new Uint8Array(bytes.length + shift).subarray(shift);
        shifted.set(bytes);
        expect(decodeFrame(shifted, LIMITS)).toEqual(frame);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("keeps the bits of every float, NaN's payload too", () => {
    const bits = Uint32Array.of(0x7fc12345, 0xff800001, 0x7f800000, 0x80000000, 1, 0x7f7fffff, 0, 0xffffffff);
    const frame = sampleFrame({
      runs: [{ ...(sampleFrame().runs[0] as FrameRun), rows: 2 }],
      tokens: Int32Array.of(1, 2),
      hidden: new Float32Array(bits.buffer),
    });
    const decoded = decodeFrame(encodeFrame(frame), LIMITS).hidden as Float32Array;
    expect(new Uint32Array(decoded.buffer, decoded.byteOffset, 8)).toEqual(bits);
  });

  it("views aligned bytes in place and copies others", () => {
    const bytes = encodeFrame(sampleFrame());
    const decoded = decodeFrame(bytes, LIMITS);
    expect(decoded.hidden?.buffer).toBe(bytes.buffer);
    expect(decoded.tokens.buffer).toBe(bytes.buffer);
    const shifted = Buffer.alloc(bytes.length + 1).subarray(1);
    shifted.set(bytes);
    expect(decodeFrame(shifted, LIMITS).hidden?.buffer).not.toBe(shifted.buffer);
  });

  it("finds every single flipped bit", () => {
    const bytes = encodeFrame(sampleFrame());
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Uint8Array.from(bytes);
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(
        codeOf(() => decodeFrame(damaged, LIMITS)),
        `bit ${bit}`,
      ).toBe("FRAME_CORRUPT");
    }
  });

  it("refuses every truncation and every addition", () => {
    const bytes = encodeFrame(sampleFrame());
    for (let length = 0; length < bytes.length; length++) {
      const code = codeOf(() => decodeFrame(bytes.subarray(0, length), LIMITS));
      expect(["FRAME_CORRUPT", "FRAME_INVALID"]).toContain(code);
    }
    expect(codeOf(() => decodeFrame(Buffer.concat([bytes, Buffer.alloc(8)]), LIMITS))).toBe("FRAME_CORRUPT");
  });

  it("answers arbitrary bytes with a typed error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(["FRAME_CORRUPT", "FRAME_INVALID"]).toContain(codeOf(() => decodeFrame(bytes, LIMITS)));
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  it("answers forged fields with a typed error or a frame within the limits", () => {
    const limits: FrameLimits = { epoch: 3, width: 4, maxRows: 8, maxRuns: 4 };
    const edits = fc.array(fc.record({ at: fc.nat(400), value: fc.nat(255) }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(edits, (changes) => {
        const bytes = forge(sampleFrame(), (view) => {
          for (const { at, value } of changes) view.setUint8(at % view.byteLength, value);
        });
        const code = codeOf(() => decodeFrame(bytes, limits));
        expect(["no error", "FRAME_INVALID", "STALE_EPOCH"]).toContain(code);
        // What is accepted means exactly these bytes: nothing in them is ignored.
        if (code !== "no error") return;
        const frame = decodeFrame(bytes, limits);
        expect(frame.epoch).toBe(3);
        expect(encodeFrame(frame)).toEqual(bytes);
      }),
      { seed: SEED, numRuns: 2000 },
    );
  });

  const run0 = HEADER_BYTES;
  const trace0 = HEADER_BYTES + 2 * RUN_BYTES;
  const pad0 = trace0 + TRACE_BYTES;
  it.each<[string, (view: DataView) => void, ErrorCode]>([
    ["another magic", (view) => view.setUint32(AT.magic, 0x4c4c4d47, true), "FRAME_INVALID"],
    ["another version", (view) => view.setUint16(AT.version, 1, true), "FRAME_INVALID"],
    ["an unknown kind", (view) => view.setUint16(AT.kind, 9, true), "FRAME_INVALID"],
    ["an unknown flag", (view) => view.setUint32(AT.flags, 4, true), "FRAME_INVALID"],
    ["a flag of the last bit", (view) => view.setUint32(AT.flags, 0x80000000, true), "FRAME_INVALID"],
    ["padding of a trace that is not zero", (view) => view.setUint8(trace0 + TRACE.stage + 2, 1), "FRAME_INVALID"],
    ["another length", (view) => view.setUint32(AT.totalBytes, 17, true), "FRAME_INVALID"],
    ["another epoch", (view) => view.setUint32(AT.epoch, 4, true), "STALE_EPOCH"],
    ["an epoch above 2^53", (view) => view.setUint32(AT.epoch + 4, 1 << 21, true), "FRAME_INVALID"],
    ["no runs", (view) => view.setUint16(AT.runCount, 0, true), "FRAME_INVALID"],
    ["too many runs", (view) => view.setUint16(AT.runCount, 5, true), "FRAME_INVALID"],
    ["more runs than bytes", (view) => view.setUint16(AT.runCount, 4, true), "FRAME_INVALID"],
    ["too many traces", (view) => view.setUint16(AT.traceCount, 65535, true), "FRAME_INVALID"],
    ["too many rows", (view) => view.setUint32(AT.rows, U32, true), "FRAME_INVALID"],
    ["more hidden rows than rows", (view) => view.setUint32(AT.hiddenRows, 6, true), "FRAME_INVALID"],
    ["another width", (view) => view.setUint32(AT.width, 2 ** 30, true), "FRAME_INVALID"],
    ["an unknown type", (view) => view.setUint8(AT.dtype, 2), "FRAME_INVALID"],
    ["hidden rows without a type", (view) => view.setUint8(AT.dtype, 0), "FRAME_INVALID"],
    ["a run without rows", (view) => view.setUint32(run0 + RUN.rows, 0, true), "FRAME_INVALID"],
    ["runs that do not add up", (view) => view.setUint32(run0 + RUN.rows, 3, true), "FRAME_INVALID"],
    [
      "a position beyond the engine's",
      (view) => view.setUint32(run0 + RUN.position, 0x7fffffff, true),
      "FRAME_INVALID",
    ],
    ["an unknown output", (view) => view.setUint8(run0 + RUN.output, 3), "FRAME_INVALID"],
    ["padding that is not zero", (view) => view.setUint8(AT.padCount + 2, 1), "FRAME_INVALID"],
    ["too many log-probabilities", (view) => view.setUint8(run0 + RUN.topLogprobs, 102), "FRAME_INVALID"],
    ["a following token that is none", (view) => view.setUint32(run0 + RUN.following, U32, true), "FRAME_INVALID"],
    ["a pad in a run's slot", (view) => view.setUint16(pad0, 5, true), "FRAME_INVALID"],
    ["a slot that is a pad twice", (view) => view.setUint16(pad0, 4, true), "FRAME_INVALID"],
    ["more pads than slots", (view) => view.setUint16(AT.padCount, 5, true), "FRAME_INVALID"],
    ["fewer pads than it holds", (view) => view.setUint16(AT.padCount, 2, true), "FRAME_INVALID"],
    ["no pads where it holds some", (view) => view.setUint16(AT.padCount, 0, true), "FRAME_INVALID"],
    ["padding of the pads that is not zero", (view) => view.setUint8(pad0 + 6, 1), "FRAME_INVALID"],
    ["a time above 2^53", (view) => view.setUint32(trace0 + TRACE.computeNs + 4, U32, true), "FRAME_INVALID"],
  ])("refuses a sound frame with %s", (_name, change, code) => {
    const limits: FrameLimits = { epoch: 3, width: 4, maxRows: 8, maxRuns: 4 };
    expect(
      codeOf(() =>
        decodeFrame(
          forge(sampleFrame(), () => {}),
          limits,
        ),
      ),
    ).toBe("no error");
    expect(codeOf(() => decodeFrame(forge(sampleFrame(), change), limits))).toBe(code);
  });

  it.each<[string, Partial<Frame>]>([
    ["no runs", { runs: [], tokens: new Int32Array(0), hidden: null, width: 0 }],
    ["fewer tokens than rows", { tokens: Int32Array.of(1) }],
    ["hidden values that are no whole rows", { hidden: new Float32Array(19) }],
    ["more hidden rows than rows", { hidden: new Float32Array(24) }],
    ["a width without hidden states", { hidden: null }],
    ["hidden states without a width", { width: 0 }],
    ["a negative epoch", { epoch: -1 }],
    ["a step id above 2^53", { stepId: 2 ** 53 }],
    ["a trace that is no integer", { traces: [{ ...TRACE_OF_STAGE_0, queueNs: 0.5 }] }],
    ["a frame above 32 bits in a trace", { traces: [{ ...TRACE_OF_STAGE_0, bytesIn: 2 ** 32 }] }],
    ["a slot that is a pad twice", { pads: [2, 2] }],
    ["a pad in a run's slot", { pads: [5] }],
    ["a pad above 16 bits", { pads: [65536] }],
    ["an unknown level of observation", { observe: "atoms" as "off" }],
  ])("does not encode a frame with %s", (_name, change) => {
    expect(codeOf(() => encodeFrame(sampleFrame(change)))).toBe("FRAME_INVALID");
  });

  it.each<[string, Partial<FrameRun>]>([
    ["a short session id", { sessionId: "0011" }],
    ["a session id with other letters", { sessionId: "zz112233445566778899aabbccddeeff" }],
    ["a fence above 32 bits", { fence: 2 ** 32 }],
    ["a slot above 16 bits", { slot: 65536 }],
    ["a fraction of a position", { position: 1.5 }],
    ["a position beyond the engine's", { position: 0x7fffffff }],
    ["too many log-probabilities", { topLogprobs: MAX_TOP_LOGPROBS + 1 }],
    ["a following token that is none", { following: -1 }],
  ])("does not encode a run with %s", (_name, change) => {
    const [first, second] = sampleFrame().runs as [FrameRun, FrameRun];
    expect(codeOf(() => encodeFrame(sampleFrame({ runs: [{ ...first, ...change }, second] })))).toBe("FRAME_INVALID");
  });
});

describe("checkFrameShape", () => {
  const expected = { epoch: 3, width: 4, hidden: "every-row", parallel: 8, maxRows: 16 } as const;

  it("takes what the plan says", () => {
    expect(codeOf(() => checkFrameShape(sampleFrame(), expected))).toBe("no error");
    const tokensOnly = sampleFrame({ hidden: null, width: 0 });
    expect(codeOf(() => checkFrameShape(tokensOnly, { ...expected, hidden: "none" }))).toBe("no error");
    // Behind the last block: one row of the first run, three of the second.
    const outputs = sampleFrame({ hidden: new Float32Array(16) });
    expect(codeOf(() => checkFrameShape(outputs, { ...expected, hidden: "output-rows" }))).toBe("no error");
  });

  it.each<[string, Frame, object, ErrorCode]>([
    ["another epoch", sampleFrame({ epoch: 4 }), {}, "STALE_EPOCH"],
    ["too many rows", sampleFrame(), { maxRows: 4 }, "FRAME_INVALID"],
    ["more rows than there is room for beside its pads", sampleFrame(), { maxRows: 7 }, "FRAME_INVALID"],
    ["a pad in a slot that does not exist", sampleFrame({ pads: [8] }), {}, "FRAME_INVALID"],
    ["a slot that does not exist", sampleFrame(), { parallel: 5 }, "FRAME_INVALID"],
    ["hidden states at the first stage", sampleFrame(), { hidden: "none" }, "FRAME_INVALID"],
    ["no hidden states at a later stage", sampleFrame({ hidden: null, width: 0 }), {}, "FRAME_INVALID"],
    ["another width", sampleFrame(), { width: 8 }, "FRAME_INVALID"],
    ["rows missing", sampleFrame({ hidden: new Float32Array(16) }), {}, "FRAME_INVALID"],
    ["every row where only outputs travel", sampleFrame(), { hidden: "output-rows" }, "FRAME_INVALID"],
  ])("refuses %s", (_name, frame, change, code) => {
    expect(codeOf(() => checkFrameShape(frame, { ...expected, ...change }))).toBe(code);
  });
});
