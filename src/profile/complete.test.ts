import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { completeProfile } from "./complete.ts";
import type { RawCell, RawProfile } from "./raw.ts";
import { LAPTOP, simulateProfile, trueMs } from "./testing.ts";
import type { ProfileDocument } from "./types.ts";

const GPT2 = { like: "gpt2-124m", type: "f16" } as const;

function rowsOf(profile: ProfileDocument, rows = 1, context = 0, phase = "decode") {
  return profile.units.filter((row) => row.phase === phase && row.rows === rows && row.context === context);
}

function replaceCell(raw: RawProfile, change: (cell: RawCell) => RawCell): RawProfile {
  return { ...raw, cells: raw.cells.map((cell, index) => (index === 0 ? change(cell) : cell)) };
}

describe("completeProfile", () => {
  it("shows GPT-2 as forty roles beside its units", () => {
    const profile = completeProfile(simulateProfile({ model: GPT2 }));
    const roles = rowsOf(profile).filter((row) => row.role !== "total" && row.role !== "sampling");
    expect(roles).toHaveLength(40);
    expect(roles.slice(0, 5).map((row) => `${row.name} ${row.role}`)).toEqual([
      "embed embedding.token",
      "embed embedding.position",
      "blk.0 norm",
      "blk.0 attention",
      "blk.0 mlp",
    ]);
    expect(roles.slice(-2).map((row) => `${row.name} ${row.role}`)).toEqual(["head norm", "head head"]);
    expect(rowsOf(profile).filter((row) => row.role === "total")).toHaveLength(14);
  });

  it("takes the hooks' cost off and finds what the machine really needs", () => {
    const machine = { ...LAPTOP, syncMs: 0.2, callbackMs: 0.05, noise: 0.002 };
    const raw = simulateProfile({ model: GPT2, machine });
    const profile = completeProfile(raw);
    const cell = must(raw.cells[0], "cell");
    for (const unitClass of profile.cost_model.classes) {
      const unit = must(raw.work.units[must(unitClass.units[0], "unit")], "unit");
      const truth = trueMs(machine, unit, "total", cell);
      // The embedding takes microseconds, a hundredth of what looking at it costs.
      const tolerance = unitClass.name === "embed" ? 0.02 : 0.02 * truth;
      expect(Math.abs(must(unitClass.decode.ms[0]?.[0], "cell") - truth)).toBeLessThan(tolerance);
    }
    const first = must(profile.cells[0], "cell");
    expect(first.step_ms).toBeGreaterThan(1.5 * first.step_off_ms);
    expect(Math.abs(first.missing_ratio)).toBeLessThan(0.01);
    expect(profile.cost_model.step_overhead_ms.decode).toBeCloseTo(LAPTOP.outsideMs);
  });

  it("takes sampling for a part of the head that no hook stopped, at every level", () => {
    for (const level of ["layer", "role", "node"] as const) {
      const profile = completeProfile(simulateProfile({ model: GPT2, level, machine: { operationMs: 0.5 } }));
      const sampling = must(
        rowsOf(profile).find((row) => row.role === "sampling"),
        "row",
      );
      expect(sampling).toMatchObject({ name: "head", sync_ms: 0 });
      expect(sampling.p50_ms).toBeCloseTo(0.5, 1);
      const [first] = profile.bottlenecks;
      expect(first?.unit_class).toBe("block");
      expect((first?.role === "total") === (level === "layer")).toBe(true);
    }
  });

  it("leaves a step out that something else held up", () => {
    const profile = completeProfile(simulateProfile({ model: GPT2 }));
    const held = must(
      rowsOf(profile).find((row) => row.name === "blk.0" && row.role === "attention"),
      "row",
    );
    const other = must(
      rowsOf(profile).find((row) => row.name === "blk.1" && row.role === "attention"),
      "row",
    );
    expect(held.n).toBe(other.n - 1);
    expect(held.p95_ms / other.p95_ms).toBeCloseTo(1, 1);
  });

  it("reaches the machine's roofs where work is large, and says what bounds it", () => {
    const profile = completeProfile(simulateProfile({ model: GPT2, machine: { operationMs: 0.01 } }));
    const decode = must(
      rowsOf(profile).find((row) => row.role === "head"),
      "row",
    );
    expect(decode.bound).toBe("memory");
    expect(decode.achieved_gb_per_s / LAPTOP.memoryGbPerS).toBeCloseTo(1, 1);
    const prefill = must(
      rowsOf(profile, 256, 0, "prefill").find((row) => row.role === "mlp"),
      "row",
    );
    expect(prefill.bound).toBe("compute");
    expect(prefill.achieved_gflops / LAPTOP.computeGflops).toBeCloseTo(1, 1);
    const norm = must(
      rowsOf(profile).find((row) => row.role === "norm"),
      "row",
    );
    expect(norm.bound).toBe("overhead");
  });

  it("lets measured units stand for those that were not", () => {
    const model = { like: "gpt2-124m", type: "f16", vocab: 8192 } as const;
    const whole = completeProfile(simulateProfile({ model }));
    const part = completeProfile(
      simulateProfile({ model, measured: ({ unit, kind }) => kind !== "block" || unit < 3 }),
    );
    const inferred = part.units.filter((row) => row.n === 0);
    expect(new Set(inferred.map((row) => row.name)).size).toBe(10);
    for (const [index, row] of part.units.entries()) {
      const truth = must(whole.units[index], "row");
      expect([row.unit, row.role, row.rows]).toEqual([truth.unit, truth.role, truth.rows]);
    }
    // The last block stands for itself no more: it is taken for one that keeps its rows.
    const block = must(
      part.cost_model.classes.find(({ name }) => name === "block"),
      "class",
    );
    const last = must(
      part.cost_model.classes.find(({ name }) => name === "block.last"),
      "class",
    );
    expect(last.decode).toEqual(block.decode);
  });

  it("keeps to the units that were asked for", () => {
    const profile = completeProfile(simulateProfile({ model: GPT2, units: "0:5", measured: ({ unit }) => unit < 5 }));
    expect(Math.max(...profile.units.map((row) => row.unit))).toBe(4);
    expect(profile.cost_model.classes.map(({ name }) => name)).toEqual(["embed", "block", "block.last"]);
    expect(profile.cost_model.classes[1]?.units).toHaveLength(11);
  });

  it("does without steps without hooks", () => {
    const raw = simulateProfile({ model: GPT2 });
    const profile = completeProfile({ ...raw, cells: raw.cells.map((cell) => ({ ...cell, stepOffMs: [] })) });
    expect(profile.cells[0]?.step_off_ms).toBe(0);
    expect(profile.units.every((row) => row.sync_ms === 0)).toBe(true);
  });

  it("says why a profile is partial", () => {
    const raw = simulateProfile({ model: GPT2 });
    const profile = completeProfile({ ...raw, partialReason: "you stopped it", cells: raw.cells.slice(0, 1) });
    expect(profile).toMatchObject({ partial: true, partial_reason: "you stopped it" });
    expect(profile.summary.join(" ")).toContain("you stopped it");
  });

  it.each<[string, (raw: RawProfile) => RawProfile]>([
    ["nothing was measured", (raw) => ({ ...raw, cells: [] })],
    [
      "no cell has a step",
      (raw) => ({
        ...raw,
        cells: raw.cells.map((cell) => ({ ...cell, stepMs: [], hookMs: [], outsideMs: [], otherMs: [], segments: [] })),
      }),
    ],
    ["a cell is there twice", (raw) => ({ ...raw, cells: [...raw.cells, ...raw.cells] })],
    ["a list is short", (raw) => replaceCell(raw, (cell) => ({ ...cell, hookMs: cell.hookMs.slice(1) }))],
    ["a time is negative", (raw) => replaceCell(raw, (cell) => ({ ...cell, stepOffMs: [-1] }))],
    ["a time is no number", (raw) => replaceCell(raw, (cell) => ({ ...cell, stepOffMs: [Number.NaN] }))],
    [
      "a role is there twice",
      (raw) => replaceCell(raw, (cell) => ({ ...cell, segments: [...cell.segments, ...cell.segments] })),
    ],
    [
      "a unit is not the model's",
      (raw) =>
        replaceCell(raw, (cell) => ({ ...cell, segments: cell.segments.map((segment) => ({ ...segment, unit: 99 })) })),
    ],
  ])("refuses samples when %s", (_what, change) => {
    const raw = change(simulateProfile({ model: { like: "gpt2-124m", layers: 2 } }));
    expect(() => completeProfile(raw)).toThrowError(expect.objectContaining({ code: "PROFILE_INVALID" }));
  });
});
