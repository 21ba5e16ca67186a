import * as fc from "fast-check";
import { expect, it } from "vitest";
import { must } from "../../common/index.ts";
import { ClockEstimate, type ClockSample } from "./clock-estimate.ts";

const SEED = 20261123;

/** A round trip to a peer whose clock is `offsetNs` ahead. */
function trip(offsetNs: number, sentNs: number, toNs: number, insideNs: number, backNs: number): ClockSample {
  const writtenNs = sentNs + toNs + insideNs;
  return { sentNs, receivedNs: writtenNs + backNs, peerNs: writtenNs + offsetNs, insideNs };
}

it("knows nothing before the first round trip", () => {
  expect(new ClockEstimate().best(0)).toBeNull();
});

it("finds a symmetric way's offset exactly, and doubts it by half of the way", () => {
  const estimate = new ClockEstimate();
  estimate.add(trip(-7_000_000, 1000, 300, 50, 300));
  expect(estimate.best(1650)).toEqual({ offsetNs: -7_000_000, uncertaintyNs: 300, rttNs: 600 });
});

it("holds the true offset within its doubt, however the ways there and back differ", () => {
  const ns = fc.nat(10_000_000);
  const offset = fc.integer({ min: -1_000_000_000_000, max: 1_000_000_000_000 });
  fc.assert(
    fc.property(offset, fc.array(fc.tuple(ns, ns, ns, ns), { minLength: 1, maxLength: 30 }), (offsetNs, trips) => {
      const estimate = new ClockEstimate();
      let nowNs = 0;
      for (const [waitNs, toNs, insideNs, backNs] of trips) {
        const sample = trip(offsetNs, nowNs + waitNs, toNs, insideNs, backNs);
        estimate.add(sample);
        nowNs = sample.receivedNs;
      }
      const best = must(estimate.best(nowNs), "estimate");
      expect(Math.abs(best.offsetNs - offsetNs)).toBeLessThanOrEqual(best.uncertaintyNs + 1);
    }),
    { seed: SEED, numRuns: 300 },
  );
});

it("prefers the quickest of the last sixteen, until its age has made it doubtful", () => {
  const estimate = new ClockEstimate();
  estimate.add(trip(5, 0, 100, 0, 100));
  estimate.add(trip(5, 1000, 5000, 0, 5000));
  expect(must(estimate.best(11_000), "estimate").rttNs).toBe(200);
  // 50 ppm of ten seconds are half a millisecond.
  estimate.add(trip(5, 10_000_000_000, 5000, 0, 5000));
  expect(must(estimate.best(10_000_010_000), "estimate").rttNs).toBe(10_000);
  const crowded = new ClockEstimate();
  crowded.add(trip(5, 0, 100, 0, 100));
  for (let index = 1; index <= 16; index++) crowded.add(trip(5, index * 1000, 300, 0, 300));
  expect(must(crowded.best(17_000), "estimate").rttNs).toBe(600);
});

it("does not believe a peer that claims to have taken longer than the way took, nor a trip that ends before it begins", () => {
  const estimate = new ClockEstimate();
  estimate.add({ sentNs: 0, receivedNs: 100, peerNs: 50, insideNs: 1e12 });
  expect(estimate.best(100)).toEqual({ offsetNs: -50, uncertaintyNs: 0, rttNs: 0 });
  const broken = new ClockEstimate();
  broken.add({ sentNs: 100, receivedNs: 0, peerNs: 50, insideNs: 0 });
  broken.add({ sentNs: 0, receivedNs: 100, peerNs: Number.NaN, insideNs: 0 });
  expect(broken.best(100)).toBeNull();
});
