import { describe, expect, test } from "vitest";
import { LiveStats } from "../metrics/index.ts";
import { makePlan, makeRequestStart, makeStep } from "../metrics/testing.ts";
import { readLive } from "./live-schema.ts";

describe("the reader of live figures", () => {
  test("takes what the coordinator makes, before and after the first step", () => {
    const live = new LiveStats();
    expect(readLive(JSON.parse(JSON.stringify(live.snapshot())))).toMatchObject({ stages: [], bottleneck: null });
    live.onPlan(makePlan());
    live.onRequest(makeRequestStart());
    live.onStep(makeStep());
    const document = live.snapshot();
    expect(readLive(JSON.parse(JSON.stringify(document)))).toEqual(document);
    expect(document.stages).toHaveLength(2);
  });

  test.each([
    ["nothing", null],
    ["a text", "noodle.live.v1"],
    ["another version", { ...new LiveStats().snapshot(), schema: "noodle.live.v2" }],
    ["missing fields", { schema: "noodle.live.v1", stages: [] }],
    ["text where numbers belong", { ...new LiveStats().snapshot(), window_s: "10" }],
  ])("takes %s for no live figures", (_, value) => {
    expect(readLive(value)).toBeNull();
  });
});
