import { describe, expect, test } from "vitest";
import { describeTop } from "./top-document.ts";
import { makeLive, makeStatus } from "./testing-top.ts";
import { renderTop } from "./top-frame.ts";

const draw = (columns: number, status: unknown = makeStatus()): string =>
  `\n${renderTop(describeTop(status, "x"), { columns, color: false }).join("\n")}\n`;

describe("a frame", () => {
  test("at 80 columns", () => {
    expect(draw(80)).toMatchInlineSnapshot(`
      "
      tiny-q4.gguf   ready   plan 3   up 1h 02m
      tokens/s 18.3 out, 140 in   requests 2 running, 1 waiting, 41 done, 1 failed
      TTFT p50 120.0 p95 180.0 ms   ITL p50 52.1 p95 78.2 ms
      decode step p50 50.4 p95 75.6 ms
      bottleneck: stage 1 on host-b takes 61% of a token: compute

      ┌ coordinator ────────┐    ┌ stage 0 ────────────┐    ┌ stage 1 bottleneck ─┐
      │ 10.0.0.5:7421       │ -> │ host-a              │ -> │ host-b              │ ->
      │ 34 units            │    │ units 0:8 / 34      │    │ units 8:24 / 34     │
      │ context 4096        │    │ compute 9.500 ms    │    │ compute 30.8 ms     │
      │ 2 of 8 sessions     │    │ ███░░░░░░░░░░░  19% │    │ █████████░░░░░  61% │
      │ RSS 151.0 MiB       │    │ queue 0.02 hop -    │    │ queue 0.02 hop 0.40 │
      │                     │    │ busy 17% KV 19%     │    │ busy 55% KV 19%     │
      │                     │    │ RSS 300.0 MiB       │    │ RSS 600.0 MiB       │
      └─────────────────────┘    └─────────────────────┘    └─────────────────────┘
      ┌ stage 2 ────────────┐
      │ host-c, restarting  │
      │ units 24:34 / 34    │
      │ compute 8.100 ms    │
      │ ██░░░░░░░░░░░░  17% │
      │ queue 0.02 hop 0.40 │
      │ busy 15% KV 19%     │
      │ RSS 900.0 MiB       │
      └─────────────────────┘
      "
    `);
  });

  test("at 140 columns", () => {
    expect(draw(140)).toMatchInlineSnapshot(`
      "
      tiny-q4.gguf   ready   plan 3   up 1h 02m
      tokens/s 18.3 out, 140 in   requests 2 running, 1 waiting, 41 done, 1 failed
      TTFT p50 120.0 p95 180.0 ms   ITL p50 52.1 p95 78.2 ms   decode step p50 50.4 p95 75.6 ms
      bottleneck: stage 1 on host-b takes 61% of a token: compute

      ┌ coordinator ─────────────────┐    ┌ stage 0 ─────────────────────┐    ┌ stage 1 bottleneck ──────────┐    ┌ stage 2 ─────────────────────┐
      │ 10.0.0.5:7421                │ -> │ host-a                       │ -> │ host-b                       │ -> │ host-c, restarting           │
      │ 34 units                     │    │ units 0:8 / 34               │    │ units 8:24 / 34              │    │ units 24:34 / 34             │
      │ context 4096                 │    │ compute 9.500 ms             │    │ compute 30.8 ms              │    │ compute 8.100 ms             │
      │ 2 of 8 sessions              │    │ ████░░░░░░░░░░░░░░░░░░░  19% │    │ ██████████████░░░░░░░░░  61% │    │ ████░░░░░░░░░░░░░░░░░░░  17% │
      │ RSS 151.0 MiB                │    │ queue 0.02 hop -             │    │ queue 0.02 hop 0.40          │    │ queue 0.02 hop 0.40          │
      │                              │    │ busy 17% KV 19% of 64.0 MiB  │    │ busy 55% KV 19% of 64.0 MiB  │    │ busy 15% KV 19% of 64.0 MiB  │
      │                              │    │ RSS 300.0 MiB                │    │ RSS 600.0 MiB                │    │ RSS 900.0 MiB                │
      └──────────────────────────────┘    └──────────────────────────────┘    └──────────────────────────────┘    └──────────────────────────────┘
      "
    `);
  });

  test("before the first step", () => {
    const live = makeLive({ stages: [], bottleneck: null, ttft_ms: null, itl_ms: null });
    expect(
      draw(80, { ...makeStatus({ ...live, step_ms: { prefill: null, decode: null } }), sessions: [] }),
    ).toMatchInlineSnapshot(`
      "
      tiny-q4.gguf   ready   plan 3   up 1h 02m
      tokens/s 18.3 out, 140 in   requests 2 running, 1 waiting, 41 done, 1 failed
      TTFT -   ITL -   decode step -
      no steps yet

      ┌ coordinator ────────┐    ┌ stage 0 ────────────┐    ┌ stage 1 ────────────┐
      │ 10.0.0.5:7421       │ -> │ host-a              │ -> │ host-b              │ ->
      │ 34 units            │    │ units 0:8 / 34      │    │ units 8:24 / 34     │
      │ context 4096        │    │ compute -           │    │ compute -           │
      │ 2 of 8 sessions     │    │ ░░░░░░░░░░░░░░    - │    │ ░░░░░░░░░░░░░░    - │
      │ RSS 151.0 MiB       │    │ queue - hop -       │    │ queue - hop -       │
      │                     │    │ busy - KV 0%        │    │ busy - KV 0%        │
      │                     │    │ RSS 300.0 MiB       │    │ RSS 600.0 MiB       │
      └─────────────────────┘    └─────────────────────┘    └─────────────────────┘
      ┌ stage 2 ────────────┐
      │ host-c, restarting  │
      │ units 24:34 / 34    │
      │ compute -           │
      │ ░░░░░░░░░░░░░░    - │
      │ queue - hop -       │
      │ busy - KV 0%        │
      │ RSS 900.0 MiB       │
      └─────────────────────┘
      "
    `);
  });

  test("without live figures", () => {
    expect(draw(80, makeStatus(null))).toContain("the coordinator keeps no live figures");
  });

  test.each([20, 40, 60, 79, 80, 81, 100, 120, 140, 200, 400])("is never wider than %i columns or 40", (columns) => {
    for (const count of [0, 1, 2, 3, 12]) {
      const status = makeStatus();
      const stages = Array.from({ length: count }, (_, index) => ({
        ...status.stages[0],
        index,
        node: "a-node-with-a-very-long-name-that-does-not-fit-anywhere",
      }));
      for (const line of renderTop(describeTop({ ...status, stages }, "x"), { columns, color: false })) {
        expect(line.length).toBeLessThanOrEqual(Math.max(40, columns));
      }
    }
  });

  test("marks the bottleneck in words, and in colour only where that is wanted", () => {
    const top = describeTop(makeStatus(), "x");
    const text = renderTop(top, { columns: 80, color: false }).join("\n");
    expect(text).toContain("stage 1 bottleneck");
    expect(text).not.toContain("\u001b");
    expect(renderTop(top, { columns: 80, color: true }).join("\n")).toContain("\u001b[33m");
  });

  test("lets no name of a peer move the cursor", () => {
    const status = makeStatus();
    const nodes = status.nodes.map((node) => ({ ...node, name: "\u001b[2Jevil\r\n\u009b1m\u202e" }));
    const text = renderTop(describeTop({ ...status, nodes }, "x"), { columns: 80, color: false }).join("");
    expect(text).toContain("?[2Jevil??");
    expect(text).not.toMatch(/\p{C}/u);
  });
});
