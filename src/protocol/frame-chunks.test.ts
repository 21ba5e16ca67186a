import { fromBinary } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import type { Frame } from "./frame.ts";
import { FrameAssembler, splitIntoChunks } from "./frame-chunks.ts";
import { encodeFrame } from "./frame-encode.ts";
import { encodeFrameMessages } from "./frame-message.ts";
import { ForwardRequestSchema } from "./gen/noodle/v1/noodle_pb.ts";

const SEED = 7421;
const KIB = 1024;

function countingBytes(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 131) & 255);
}

/** The length of the finished frame, "more" before, or the code of the refusal. */
function tryPush(assembler: FrameAssembler, data: Uint8Array, last: boolean): number | string {
  try {
    return assembler.push(data, last)?.length ?? "more";
  } catch (error) {
    return (error as NoodleError).code;
  }
}

function frameOf(rows: number, width: number): Frame {
  return {
    epoch: 1,
    stepId: 2,
    observe: "off",
    runs: [
      {
        sessionId: "0".repeat(32),
        fence: 0,
        branch: 0,
        position: 0,
        rows,
        slot: 0,
        output: "none",
        topLogprobs: null,
        following: null,
      },
    ],
    traces: [],
    pads: [],
    tokens: new Int32Array(rows),
    width,
    hidden: Float32Array.from({ length: rows * width }, (_, index) => index),
  };
}

describe("FrameAssembler", () => {
  it("puts together what was split, frame after frame", () => {
    const assembler = new FrameAssembler();
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 * KIB }), fc.integer({ min: 64, max: 200 }), (length, capKib) => {
        const bytes = countingBytes(length);
        const chunks = splitIntoChunks(bytes, capKib * KIB);
        for (const chunk of chunks) expect(chunk.length).toBeLessThanOrEqual(capKib * KIB);
        for (const chunk of chunks.slice(0, -1)) expect(assembler.push(chunk, false)).toBeNull();
        const assembled = assembler.push(chunks.at(-1) as Uint8Array, true);
        expect(Buffer.compare(assembled as Uint8Array, bytes)).toBe(0);
        expect(assembler.pendingBytes).toBe(0);
      }),
      { seed: SEED, numRuns: 40 },
    );
  });

  it("returns a frame of one chunk without a copy", () => {
    const bytes = countingBytes(100);
    expect(new FrameAssembler().push(bytes, true)).toBe(bytes);
  });

  it("holds no more than its maximum, whatever comes, and starts anew after a refusal", () => {
    const maxBytes = 300 * KIB;
    const chunkArbitrary = fc.record({ length: fc.integer({ min: 0, max: 150 * KIB }), last: fc.boolean() });
    fc.assert(
      fc.property(fc.array(chunkArbitrary, { maxLength: 20 }), (chunks) => {
        const assembler = new FrameAssembler(maxBytes);
        for (const { length, last } of chunks) {
          const before = assembler.pendingBytes;
          const pushed = tryPush(assembler, new Uint8Array(length), last);
          const sound = length >= (last ? 1 : 64 * KIB) && before + length <= maxBytes;
          expect(pushed).toBe(!sound ? "FRAME_INVALID" : last ? before + length : "more");
          expect(assembler.pendingBytes).toBe(pushed === "more" ? before + length : 0);
        }
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it("refuses a flood of tiny chunks", () => {
    const assembler = new FrameAssembler();
    expect(() => assembler.push(new Uint8Array(1), false)).toThrow(NoodleError);
    expect(() => assembler.push(new Uint8Array(0), true)).toThrow(NoodleError);
  });

  it("does not split below the least chunk", () => {
    expect(() => splitIntoChunks(new Uint8Array(10), 1)).toThrow(NoodleError);
  });
});

describe("encodeFrameMessages", () => {
  it("makes one message of a short frame, its data at a multiple of 16 behind gRPC's five bytes", () => {
    const frame = frameOf(3, 5);
    const messages = encodeFrameMessages(frame);
    expect(messages).toHaveLength(1);
    const behindPrefix = new Uint8Array(5 + (messages[0] as Uint8Array).length);
    behindPrefix.set(messages[0] as Uint8Array, 5);
    const { message } = fromBinary(ForwardRequestSchema, behindPrefix.subarray(5));
    expect(message.case).toBe("chunk");
    if (message.case !== "chunk") return;
    expect(message.value.last).toBe(true);
    expect(message.value.data.byteOffset % 16).toBe(0);
    expect(Buffer.compare(message.value.data, encodeFrame(frame))).toBe(0);
  });

  it("makes several messages of a frame above the cap", () => {
    const frame = frameOf(100, 1000);
    const assembler = new FrameAssembler();
    const messages = encodeFrameMessages(frame, 100 * KIB);
    expect(messages.length).toBe(Math.ceil(encodeFrame(frame).length / (100 * KIB)));
    let assembled: Uint8Array | null = null;
    for (const bytes of messages) {
      const { message } = fromBinary(ForwardRequestSchema, bytes);
      if (message.case !== "chunk") throw new Error("not a chunk");
      expect(assembled).toBeNull();
      assembled = assembler.push(message.value.data, message.value.last);
    }
    expect(Buffer.compare(assembled as unknown as Uint8Array, encodeFrame(frame))).toBe(0);
  });
});
