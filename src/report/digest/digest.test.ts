import { describe, expect, test } from "vitest";
import { makeRun, toUnixMs } from "../testing.ts";
import { Digester } from "./digester.ts";
import { FoldingBins } from "./folding-bins.ts";
import type { RunDigest } from "./run-digest.ts";
import { Sketch } from "./sketch.ts";
import { TypicalStretch, type TimelineStep } from "./typical-stretch.ts";

function digestRun(shape: Parameters<typeof makeRun>[0]): RunDigest {
  const { steps, layers, requests } = makeRun(shape);
  const digester = new Digester();
  for (const step of steps) digester.addStep(step, toUnixMs(step.receivedMonoNs ?? step.sentMonoNs));
  for (const layer of layers) digester.addLayer(layer, toUnixMs(layer.sentNodeNs));
  for (const request of requests) digester.addRequest(request, toUnixMs(request.monoNs));
  const digest = digester.finish();
  if (digest === null) throw new Error("a run with steps has a digest");
  return digest;
}

describe("a sketch", () => {
  test("gives quantiles within two percent of the sorted values", () => {
    const sketch = new Sketch();
    const values = Array.from({ length: 5000 }, (_, index) => 0.01 * 1.002 ** index);
    for (const value of values) sketch.add(value);
    for (const q of [0.01, 0.5, 0.95, 0.999]) {
      const exact = values[Math.ceil(q * values.length) - 1] ?? 0;
      expect(Math.abs(sketch.quantile(q) / exact - 1)).toBeLessThan(0.02);
    }
  });

  test("joined to another is that of all values", () => {
    const [all, left, right] = [new Sketch(), new Sketch(), new Sketch()];
    for (let value = 1; value <= 100; value++) {
      all.add(value);
      (value % 3 === 0 ? left : right).add(value);
    }
    left.merge(right);
    expect([left.count, left.sum, left.quantile(0.5)]).toEqual([all.count, all.sum, all.quantile(0.5)]);
  });

  test("takes what is no positive number as nothing", () => {
    const sketch = new Sketch();
    for (const value of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) sketch.add(value);
    expect([sketch.count, sketch.quantile(0.5), sketch.sum]).toEqual([4, 0, 0]);
  });
});

describe("folding bins", () => {
  const make = (): FoldingBins<{ count: number }> =>
    new FoldingBins({
      width: 1,
      maxBins: 16,
      create: () => ({ count: 0 }),
      merge: (into, from) => {
        into.count += from.count;
      },
    });

  test("keep everything that was put in, in few bins, whatever the order", () => {
    const bins = make();
    for (let index = 0; index < 10_000; index++) bins.at((index * 7919) % 10_000).count += 1;
    const list = bins.list();
    expect(list.length).toBeLessThanOrEqual(16);
    expect(list.reduce((sum, { value }) => sum + value.count, 0)).toBe(10_000);
    expect(list.map(({ from }) => from)).toEqual(list.map(({ from }) => from).toSorted((a, b) => a - b));
  });

  test("hold positions that lie very far apart", () => {
    const bins = make();
    for (let power = 0; power < 18; power++) bins.at(10 ** power).count += 1;
    expect(bins.list().reduce((sum, { value }) => sum + value.count, 0)).toBe(18);
  });
});

describe("the typical stretch", () => {
  test("is the one in the middle, not the slowest, of any number of steps", () => {
    const stretch = new TypicalStretch();
    let atMs = 0;
    for (let stepId = 0; stepId < 100_000; stepId++) {
      // One stretch in twenty takes ten times as long.
      const ms = Math.floor(stepId / 8) % 20 === 0 ? 100 : 10;
      const step: TimelineStep = {
        stepId,
        epoch: 1,
        phase: "decode",
        rows: 1,
        sentMs: atMs,
        receivedMs: atMs + ms,
        stages: [],
      };
      stretch.add(step);
      atMs += ms;
    }
    const chosen = stretch.choose(1);
    expect(chosen).toHaveLength(8);
    expect((chosen.at(-1)?.receivedMs ?? 0) - (chosen[0]?.sentMs ?? 0)).toBe(80);
    expect(stretch.choose(2)).toEqual([]);
  });
});

describe("the digest of a run", () => {
  const shape = { steps: 1200, requests: 6, stages: ["0:5", "5:10", "10:14"], sampleEvery: 10, drift: 1.5 };

  test("has the stages' times, of decode steps alone", () => {
    const { stages, decode, steps } = digestRun(shape);
    expect(steps).toBe(1200);
    expect(stages.map(({ nodeId }) => nodeId)).toEqual(["worker-1", "worker-2", "worker-3"]);
    // Five units of 0.5 to 0.55 ms and 0.05 ms around them; prefill would be twelve times that.
    expect(stages[0]?.computeMs.p50).toBeGreaterThan(2.55);
    expect(stages[0]?.computeMs.p95).toBeLessThan(2.9);
    expect(stages[0]?.computeMs.count).toBe(1194);
    expect(stages[0]?.hopMs.count).toBe(0);
    expect(decode?.oneRowSteps).toBe(1194);
  });

  test("has throughput and latencies along the run that agree with the steps", () => {
    const { series, requests, durationS } = digestRun(shape);
    const tokens = (series?.points ?? []).map(({ tokensPerS }) => tokensPerS);
    const mean = tokens.reduce((sum, rate) => sum + rate, 0) / tokens.length;
    expect(Math.abs(mean / (1200 / durationS) - 1)).toBeLessThan(0.1);
    expect(requests).toMatchObject({ finished: 6, failed: 0, generatedTokens: 1200 });
    expect(requests.ttftMs?.p50).toBeGreaterThan(requests.itlMs?.p50 ?? 0);
    const [first, last] = [series?.points[1], series?.points.at(-2)];
    expect((last?.stageComputeMs[1] ?? 0) / (first?.stageComputeMs[1] ?? 1)).toBeGreaterThan(1.4);
  });

  test("has a heat map of the sampled steps, units by columns", () => {
    const { heat, units } = digestRun(shape);
    expect(heat?.units).toEqual(Array.from({ length: 14 }, (_, unit) => unit));
    expect(heat?.ms).toHaveLength(14);
    expect(heat?.ms[0]).toHaveLength(heat?.columns.length ?? 0);
    expect(heat?.columns.length).toBeLessThanOrEqual(160);
    expect(units[3]?.ms.p50).toBeGreaterThan(0.49);
    expect(units[3]?.ms.p50).toBeLessThan(0.56);
  });

  test("is of the plan that most steps ran under", () => {
    const { steps } = makeRun({ ...shape, steps: 60, requests: 1 });
    const digester = new Digester();
    for (const step of steps) digester.addStep({ ...step, epoch: step.stepId < 20 ? 1 : 2 }, toUnixMs(step.sentMonoNs));
    const digest = digester.finish();
    expect(digest?.epoch).toBe(2);
    expect(digest?.stages[0]?.computeMs.count).toBe(40);
    expect(digest?.timeline.every(({ epoch }) => epoch === 2)).toBe(true);
  });

  test("is nothing when nothing was added", () => {
    expect(new Digester().finish()).toBeNull();
  });
});
