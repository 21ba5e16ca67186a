import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { profileSchema } from "../profile/index.ts";
import { profileModel, type ProfileProgress } from "./profile-model.ts";

const MODEL = fileURLToPath(new URL("../../models/storyteller-q8_0.gguf", import.meta.url));
const QUICK = { model: MODEL, threads: 1, prefillRows: [8], decodeRows: [1, 2], contexts: [0, 256] };

/** Processes that this one started and that still run. */
function listChildren(): number[] {
  return readdirSync(`/proc/${process.pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${process.pid}/task/${task}/children`, "utf8").split(" ").filter(Boolean).map(Number),
  );
}

/** Calls `act` once, after so many turns of measuring. */
function afterTurns(count: number, act: () => void): (progress: ProfileProgress) => void {
  let turns = 0;
  return (progress) => {
    if (progress.type === "update" && progress.words !== "") turns += 1;
    if (turns === count && progress.type === "update") act();
  };
}

describe("profileModel", () => {
  it("measures every unit of a model, and gives a document of its schema", async () => {
    const document = await profileModel({ ...QUICK, budgetMs: 1500 });
    expect(() => profileSchema.parse(document)).not.toThrow();
    expect(document.partial).toBe(false);
    expect(document.model).toMatchObject({ architecture: "gpt2", unit_count: 14, weight_type: "q8_0" });
    const totals = document.units.filter(
      (row) => row.role === "total" && row.phase === "decode" && row.rows === 1 && row.context === 0,
    );
    expect(totals.map((row) => row.unit)).toEqual(Array.from({ length: 14 }, (_, unit) => unit));
    for (const row of totals) {
      expect(row.n).toBeGreaterThanOrEqual(3);
      expect(row.p50_ms).toBeGreaterThan(0);
    }
    expect(document.machine.memory_gb_per_s).toBeGreaterThan(0);
    expect(document.machine.compute_gflops).toBeGreaterThan(0);
    expect(document.cells.length + document.skipped.length).toBe(6);
  });

  it("measures a part of a shape without weights, others of a class standing for the rest", async () => {
    const options = { like: "smollm2-135m", units: "1:31", memoryBytes: 300e6, threads: 1, budgetMs: 1000 };
    const document = await profileModel({ ...options, prefillRows: [], decodeRows: [1], contexts: [0] });
    const { synthetic, synthetic_blocks: built, units } = document.settings;
    expect({ synthetic, units }).toEqual({ synthetic: true, units: "1:31" });
    const totals = document.units.filter((row) => row.role === "total");
    expect(totals.map((row) => row.unit)).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
    expect(totals.filter((row) => row.n > 0)).toHaveLength(built ?? 0);
    expect(built).toBeLessThan(30);
  });

  it("gives what it measured when it is interrupted, marked partial, and leaves no process behind", async () => {
    const controller = new AbortController();
    const stop = afterTurns(1, () => controller.abort(new NoodleError("INTERRUPTED", "enough")));
    const document = await profileModel({ ...QUICK, budgetMs: 60_000 }, stop, controller.signal);
    expect(document).toMatchObject({ partial: true, partial_reason: "enough" });
    expect(document.cells.length).toBeGreaterThan(0);
    expect(document.cells.length + document.skipped.length).toBe(6);
    expect(listChildren()).toEqual([]);
  });

  it("gives what it measured when the engine's process dies", async () => {
    const known = new Set(listChildren());
    const kill = afterTurns(2, () => {
      for (const child of listChildren()) if (!known.has(child)) process.kill(child, "SIGKILL");
    });
    const document = await profileModel({ ...QUICK, budgetMs: 60_000 }, kill);
    expect(document.partial).toBe(true);
    expect(document.partial_reason).toContain("SIGKILL");
    expect(document.cells.length).toBeGreaterThan(0);
  });

  it.each([
    ["an interruption before the first sample", { ...QUICK }, "INTERRUPTED"],
    ["a context that the model does not have", { ...QUICK, contexts: [4096] }, "CONTEXT_EXCEEDED"],
    ["too little memory", { ...QUICK, memoryBytes: 1e6 }, "MEMORY_INSUFFICIENT"],
    ["units that the model does not have", { ...QUICK, units: "3:99" }, "CUT_OUT_OF_RANGE"],
    ["a file that is not there", { ...QUICK, model: "none.gguf" }, "FILE_NOT_FOUND"],
    ["an unknown shape", { like: "none" }, "USAGE"],
  ])("fails for %s", async (_what, options, code) => {
    const signal = code === "INTERRUPTED" ? AbortSignal.abort(new NoodleError("INTERRUPTED", "stop")) : undefined;
    await expect(profileModel(options, undefined, signal)).rejects.toMatchObject({ code });
  });
});
