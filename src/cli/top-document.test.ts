import { describe, expect, test } from "vitest";
import { describeTop } from "./top-document.ts";
import { renderTop } from "./top-frame.ts";
import { makeLive, makeStatus } from "./testing-top.ts";

describe("the top document", () => {
  test("joins stages with their node, figures and part of the KV", () => {
    const top = describeTop(makeStatus(), "x");
    expect(top.stages[1]).toMatchObject({
      stage: 1,
      units: "8:24",
      node: "node-1",
      node_name: "host-b",
      times: { compute_ms: { p50: 30.8 }, share: 0.61 },
      kv_bytes: 64 * 2 ** 20,
      kv_used_bytes: (64 * 2 ** 20 * (4096 + 1200 + 900 + 30)) / (4096 * 8),
      rss_bytes: 600 * 2 ** 20,
    });
    expect(top.bottleneck?.stage).toBe(1);
    expect(top.phase).toBe("decode");
  });

  test("does without live figures, or with some that make no sense", () => {
    for (const live of [undefined, null, { schema: "noodle.live.v9" }, "soon"]) {
      const top = describeTop({ ...makeStatus(), live }, "x");
      expect(top).toMatchObject({ live: null, bottleneck: null });
      expect(top.stages.map(({ times }) => times)).toEqual([null, null, null]);
    }
  });

  test("puts what the plan promises beside what is measured, and says nothing where nobody planned", () => {
    const predicted = { period_ms: 28, latency_ms: 47, tokens_per_s: 20 };
    const top = describeTop({ ...makeStatus(), plan: { predicted } }, "x");
    expect(top.plan).toEqual({ predicted, measured: { period_ms: 30.8, latency_ms: 50.4, tokens_per_s: 18.25 } });
    const lines = renderTop(top, { columns: 160, color: false }).join("\n");
    expect(lines).toContain("period 28.0 / 30.8 ms");
    expect(describeTop({ ...makeStatus(null), plan: { predicted } }, "x").plan).toEqual({ predicted, measured: null });
    expect(describeTop({ ...makeStatus(), plan: { predicted: null } }, "x").plan).toBeNull();
    expect(describeTop(makeStatus(), "x").plan).toBeNull();
  });

  test("gives a stage no figures of the node that held it before", () => {
    const status = makeStatus();
    const stages = status.stages.map((stage) => ({ ...stage, node: stage["index"] === 0 ? "another" : stage["node"] }));
    const top = describeTop({ ...status, stages }, "x");
    expect(top.stages[0]).toMatchObject({ times: null, rss_bytes: null, node_name: "another" });
    expect(top.stages[1]?.times).not.toBeNull();
  });

  test("takes how busy an engine is from its holder, and the coordinator's CPU from itself, where they say it", () => {
    const status = makeStatus();
    const stages = status.stages.map((stage, index) => ({ ...stage, engine_busy_ratio: index === 0 ? 0.97 : null }));
    const coordinator = { ...status.coordinator, cpu_ratio: 0.031 };
    const top = describeTop({ ...status, coordinator, stages }, "x");
    expect([top.stages[0]?.busy_ratio, top.stages[1]?.busy_ratio]).toEqual([0.97, 0.61 * 0.9]);
    expect(top.coordinator.cpu_ratio).toBe(0.031);
    expect(describeTop(status, "x").coordinator.cpu_ratio).toBeNull();
  });

  test("shows prefill while there is nothing else", () => {
    const live = makeLive();
    const stages = live.stages.map((stage) => ({ ...stage, prefill: stage.decode, decode: null }));
    const top = describeTop(makeStatus({ ...live, stages }), "x");
    expect(top.phase).toBe("prefill");
    expect(top.stages[0]?.times?.share).toBe(0.19);
  });

  test.each([
    ["nothing", null],
    ["another document", { schema: "noodle.error.v1" }],
    ["a status without stages", { ...makeStatus(), stages: undefined }],
    ["text where a number belongs", { ...makeStatus(), sessions: [{ prompt_tokens: "9", generated_tokens: 1 }] }],
  ])("refuses %s", (_, value) => {
    expect(() => describeTop(value, "host:1")).toThrow(expect.objectContaining({ code: "PROTOCOL_MISMATCH" }));
  });
});
