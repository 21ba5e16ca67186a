import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { compareFigures, readRunFigures } from "./compare-figures.ts";
import { compareProfiles } from "./compare-profiles.ts";
import { completeProfile } from "./complete.ts";
import { simulateProfile, type Simulation } from "./testing.ts";

const make = (simulation: Partial<Simulation> = {}) =>
  completeProfile(simulateProfile({ model: { like: "gpt2-124m", layers: 4, type: "q8_0" }, ...simulation }));

describe("compareProfiles", () => {
  const before = make();

  it("finds nothing but noise between two runs on the same machine", () => {
    const { changes, differences, parts, only_in_a, only_in_b } = compareProfiles(before, make({ seed: 7 }));
    expect(changes).toEqual([]);
    expect(differences).toEqual([]);
    expect(parts.filter((part) => !part.within_spread)).toEqual([]);
    expect([only_in_a, only_in_b]).toEqual([0, 0]);
    expect(parts.length).toBeGreaterThan(50);
  });

  it("sees half the memory bandwidth as twice the time of what it bounds", () => {
    const { changes, parts } = compareProfiles(before, make({ machine: { memoryGbPerS: 10 } }));
    const head = must(
      parts.find((part) => part.role === "head" && part.phase === "decode" && part.rows === 1 && part.context === 0),
      "part",
    );
    expect(head.ratio).toBeCloseTo(2, 1);
    expect(head.within_spread).toBe(false);
    expect(changes).toHaveLength(3);
    expect(changes[0]).toMatch(/became .* \(x 1\.\d\d|x 2\.\d\d\)/);
    expect(changes[0]).toContain("of the step more");
  });

  it("names what is not the same beside the times", () => {
    const other = make({ machine: { threads: 2 }, level: "layer" });
    const { differences, only_in_a, parts } = compareProfiles(before, {
      ...other,
      machine: { ...other.machine, engine_build: "b2" },
    });
    expect(differences).toEqual(["engine build: b1 and b2", "threads: 8 and 2", "level: role and layer"]);
    expect(only_in_a).toBeGreaterThan(0);
    expect([...new Set(parts.map((part) => part.role))]).toEqual(["total", "sampling"]);
  });
});

describe("compareFigures", () => {
  const run = (tokensPerSec: number, computeMs: number, split = "0:3,3:6") =>
    readRunFigures([
      {
        schema: "noodle.generate.v1",
        split,
        decode_tokens_per_sec: tokensPerSec,
        token_ids: [1, 2, 3],
        stages: [
          { node: "a", units: "0:3", compute_ms_p50: 2, rss_bytes: 100 },
          { node: "b", units: "3:6", compute_ms_p50: computeMs, rss_bytes: 100 },
        ],
      },
    ]);

  it("puts speed and times of two runs side by side, stage by stage", () => {
    const { figures, changes, differences } = compareFigures(run(100, 3), run(80, 6, "0:2,2:6"));
    expect(figures.map(({ name, ratio }) => [name, ratio])).toEqual([
      ["decode_tokens_per_sec", 0.8],
      ["stages.0:3.compute_ms_p50", 1],
      ["stages.0:3.rss_bytes", 1],
      ["stages.3:6.compute_ms_p50", 2],
      ["stages.3:6.rss_bytes", 1],
    ]);
    expect(changes[0]).toContain("stages.3:6.compute_ms_p50: 3 became 6 (x 2.00)");
    expect(differences).toEqual(["split: 0:3,3:6 and 0:2,2:6"]);
  });

  it("takes the repetitions of a bench's row together", () => {
    const rows = (values: readonly number[]) =>
      readRunFigures(
        values.map((value, repetition) => ({
          schema: "noodle.bench.v1",
          kind: "sample",
          bench: "pipeline",
          subject: "one-worker",
          metric: "decode",
          value,
          repetition,
        })),
      );
    const { figures } = compareFigures(rows([10, 11, 12]), rows([10.5, 11.5, 12.5]));
    expect(figures).toEqual([
      { name: "pipeline one-worker decode", a: 11, b: 11.5, ratio: expect.any(Number), within_spread: true },
    ]);
  });

  it("bears documents that are anything at all", () => {
    let deep: unknown = { time_ms: 1 };
    for (let level = 0; level < 1000; level++) deep = { deep };
    expect(readRunFigures([null, 3, "text", [1], { time_ms: "no", other_ms: null }, deep]).figures.size).toBe(0);
  });
});
