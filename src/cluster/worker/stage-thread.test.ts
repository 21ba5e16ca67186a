import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeStage, GREEDY, type StageConfig } from "../../engine/index.ts";
import { StageThread } from "./stage-thread.ts";
import { makeTemporaryDirectory } from "./testing-coordinator.ts";

const MODEL = { units: { first: 1, end: 4 }, layers: 2, nEmbd: 4, nVocab: 50 };

let directory: ReturnType<typeof makeTemporaryDirectory>;
let config: StageConfig;
let thread: StageThread;
beforeEach(() => {
  directory = makeTemporaryDirectory();
  config = { stageFile: join(directory.path, "stage.json"), contextTokens: 16, parallel: 2, threads: 1 };
  writeFileSync(config.stageFile, JSON.stringify(MODEL));
  thread = new StageThread();
});
afterEach(async () => {
  await thread.close();
  directory.remove();
});

describe("StageThread", () => {
  it("computes on its thread what the stage computes on this one", async () => {
    expect((await thread.start({ kind: "fake" })).build).toBe("fake");
    const info = await thread.load(config);
    const stage = new FakeStage(MODEL, config);
    expect(info).toEqual(stage.info);
    expect(await thread.canary()).toBe(stage.canary());
    await thread.openSlot(1, GREEDY);
    stage.openSlot(1, GREEDY);
    const input = {
      runs: [{ slot: 1, position: 0, rows: 2, output: "last" as const }],
      tokens: Int32Array.of(5, 6),
      hidden: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    };
    const expected = stage.forward(input, { wantLogits: true });
    const output = await thread.forward({ input, truncations: [], wantLogits: true, observe: null });
    expect(output.sampled).toEqual(expected.sampled);
    expect(await thread.readKv(1)).toEqual(stage.readKv(1));
  });

  it("keeps what a slot held and starts another with it", async () => {
    await thread.start({ kind: "fake" });
    await thread.load(config);
    await thread.openSlot(0, GREEDY);
    const input = {
      runs: [{ slot: 0, position: 0, rows: 2, output: "none" as const }],
      tokens: Int32Array.of(5, 6),
      hidden: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    };
    await thread.forward({ input, truncations: [], wantLogits: false, observe: null });
    const held = await thread.readKv(0);
    expect(await thread.closeSlot(0, true)).toBe(2);
    await thread.openSlot(1, GREEDY, { keepTokens: 2, copyFrom: 0 });
    expect(await thread.readKv(1)).toEqual(held);
    expect(await thread.closeSlot(0, false)).toBe(0);
    await expect(thread.openSlot(0, GREEDY, { keepTokens: 1 })).rejects.toMatchObject({ code: "PREFIX_GONE" });
  });

  it("drops positions before a forward that asks for it", async () => {
    await thread.start({ kind: "fake" });
    await thread.load(config);
    await thread.openSlot(0, GREEDY);
    const forward = (position: number, truncations: { slot: number; position: number }[] = []) =>
      thread.forward({
        input: {
          runs: [{ slot: 0, position, rows: 1, output: "last" }],
          tokens: Int32Array.of(1),
          hidden: Float32Array.of(1, 2, 3, 4),
        },
        truncations,
        wantLogits: false,
        observe: null,
      });
    await forward(0);
    const straight = await forward(1);
    await forward(2);
    expect((await forward(1, [{ slot: 0, position: 1 }])).sampled).toEqual(straight.sampled);
  });

  it("hands errors over with their codes and goes on", async () => {
    await thread.start({ kind: "fake" });
    await expect(thread.canary()).rejects.toMatchObject({ code: "ILLEGAL_STATE" });
    await expect(thread.load({ ...config, stageFile: "/nowhere" })).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await thread.load(config);
    await expect(thread.openSlot(2, GREEDY)).rejects.toMatchObject({ code: "SESSION_LIMIT" });
    expect(await thread.canary()).toMatch(/^[0-9a-f]{64}$/);
  });

  it("refuses calls after its end and ends twice without harm", async () => {
    await thread.start({ kind: "fake" });
    await thread.close();
    await expect(thread.canary()).rejects.toMatchObject({ code: "ILLEGAL_STATE" });
    await thread.close();
  });
});
