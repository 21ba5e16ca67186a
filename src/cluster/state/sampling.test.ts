import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { GREEDY, type SamplingParams } from "../../engine/index.ts";
import { SamplingSchema } from "../../protocol/index.ts";
import { readSampling, writeSampling } from "./sampling.ts";

/** Numbers that 32 bits carry. */
const number = fc.integer({ min: -2000, max: 2000 }).map((value) => value / 64);
const nonZero = number.filter((value) => value !== 0);
const u32 = fc.nat(0xffffffff);

const samplingArbitrary: fc.Arbitrary<SamplingParams> = fc.record(
  {
    temperature: number,
    topK: u32,
    topP: number,
    minP: number,
    repeatPenalty: number,
    seed: u32,
    typicalP: nonZero.filter((value) => value !== 1),
    presencePenalty: nonZero,
    frequencyPenalty: nonZero,
    penaltyLastTokens: u32.filter((value) => value > 0),
    logitBias: fc.array(fc.tuple(fc.nat(0x7fffffff), fc.oneof(number, fc.constant(Number.NEGATIVE_INFINITY))), {
      minLength: 1,
      maxLength: 5,
    }),
    grammar: fc.string({ unit: "grapheme", minLength: 1 }),
  },
  { requiredKeys: ["temperature", "topK", "topP", "minP", "repeatPenalty", "seed"] },
);

describe("sampling on the wire", () => {
  it("arrives as it was sent", () => {
    fc.assert(
      fc.property(samplingArbitrary, (sampling) => {
        const travelled = fromBinary(SamplingSchema, toBinary(SamplingSchema, writeSampling(sampling)));
        expect(readSampling(travelled)).toEqual(sampling);
      }),
      { seed: 7421, numRuns: 300 },
    );
    expect(readSampling(undefined)).toEqual(GREEDY);
    expect(readSampling(writeSampling({ ...GREEDY, typicalP: 1 }))).toEqual(GREEDY);
  });

  it.each([
    ["a temperature that is no number", { temperature: Number.NaN }],
    ["an infinite penalty", { presencePenalty: Number.POSITIVE_INFINITY }],
    ["a bias without a token", { biasValues: [1] }],
    ["a token without a bias", { biasTokenIds: [1] }],
    ["a bias that is no number", { biasTokenIds: [1], biasValues: [Number.NaN] }],
    ["a bias that forces a token", { biasTokenIds: [1], biasValues: [Number.POSITIVE_INFINITY] }],
    ["a bias of a token that is none", { biasTokenIds: [-1], biasValues: [1] }],
  ])("is refused with %s", (_title, change) => {
    const read = (): unknown => readSampling(create(SamplingSchema, { ...writeSampling(GREEDY), ...change }));
    expect(read).toThrow(NoodleError);
    expect(read).toThrow(expect.objectContaining({ code: "FRAME_INVALID" }));
  });
});
