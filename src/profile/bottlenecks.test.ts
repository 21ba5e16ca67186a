import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { completeProfile } from "./complete.ts";
import { countWork } from "./count-work.ts";
import { LAPTOP, simulateProfile, type Simulation, trueMs } from "./testing.ts";
import type { Bottleneck, ProfileDocument, Remedy, RemedyKind } from "./types.ts";

const DECODE = ["decode", 1, 0] as const;

function profileOf(simulation: Simulation): ProfileDocument {
  return completeProfile(simulateProfile({ machine: { noise: 0.001 }, ...simulation }));
}

function findRemedy(
  profile: ProfileDocument,
  kind: RemedyKind,
  of: (found: Bottleneck) => boolean = () => true,
): Remedy | undefined {
  return profile.bottlenecks
    .filter(of)
    .flatMap((found) => found.remedies)
    .find((remedy) => remedy.kind === kind);
}

describe("a profile's bottlenecks", () => {
  it("names the head of a small model with a large vocabulary, its share and what bounds it", () => {
    const simulation = { model: { like: "gpt2-124m", layers: 3, vocab: 50_257, type: "f16" }, cells: [DECODE] };
    const raw = simulateProfile(simulation);
    const cell = must(raw.cells[0], "cell");
    const truth = raw.work.units.map((unit) => trueMs(LAPTOP, unit, "total", cell));
    const share = must(truth.at(-1), "head") / (truth.reduce((sum, ms) => sum + ms, 0) + LAPTOP.outsideMs);
    const profile = profileOf(simulation);
    const first = must(profile.bottlenecks[0], "bottleneck");
    expect(first).toMatchObject({ name: "head", role: "head", bound: "memory", unit: 4, phase: "decode" });
    expect(first.share).toBeCloseTo(share, 1);
    expect(first.words).toContain(`head: ${Math.round(100 * first.share)}% of each token`);
    expect(first.words).toMatch(
      /moves 77\.\d MB at (19|20)(\.\d)? GB\/s, (99|100)% of this machine's memory bandwidth/,
    );
    expect(profile.summary[0]).toBe(first.words);
  });

  it("estimates what another type of the head's weights saves from its bytes", () => {
    const profile = profileOf({ model: { like: "gpt2-124m", layers: 3, vocab: 50_257, type: "f16" }, cells: [DECODE] });
    const first = must(profile.bottlenecks[0], "bottleneck");
    const remedy = must(
      first.remedies.find(({ kind }) => kind === "weights"),
      "remedy",
    );
    expect(remedy.words).toContain("q8_0 instead of f16");
    // 8.5 bits for 16: the head's share times what is left out.
    expect(remedy.gain_ratio).toBeCloseTo(first.share * (1 - 8.5 / 16), 2);
    expect(remedy.because).toMatch(/MB instead of .* MB/);
  });

  it("offers no smaller weights where they are small, nor where arithmetic bounds", () => {
    const small = profileOf({ model: { like: "llama-1b", layers: 2, type: "q4_0" }, cells: [DECODE] });
    expect(findRemedy(small, "weights")).toBeUndefined();
    const prefill = profileOf({ model: { like: "llama-1b", layers: 2, type: "f16" }, cells: [["prefill", 256, 0]] });
    expect(prefill.bottlenecks.map(({ bound }) => bound)).toContain("compute");
    expect(findRemedy(prefill, "weights", ({ bound }) => bound === "compute")).toBeUndefined();
  });

  it("offers more threads only where arithmetic bounds and cores are idle", () => {
    const model = { like: "llama-1b", layers: 2, type: "q4_0" };
    const cells = [DECODE, ["prefill", 256, 0]] as const;
    const idle = profileOf({ model, cells, machine: { threads: 2, noise: 0.001 } });
    const remedy = must(
      findRemedy(idle, "threads", ({ phase }) => phase === "prefill"),
      "remedy",
    );
    expect(remedy.gain_ratio).toBeGreaterThan(0.7);
    expect(remedy.gain_ratio).toBeLessThan(0.75);
    expect(findRemedy(idle, "threads", ({ phase }) => phase === "decode")).toBeUndefined();
    expect(findRemedy(profileOf({ model, cells }), "threads")).toBeUndefined();
  });

  it("says what more sequences in a step were measured to save for each token", () => {
    const simulation = {
      model: { like: "llama-1b", layers: 2, type: "q4_0" },
      cells: [DECODE, ["decode", 4, 0]] as const,
    };
    const profile = profileOf(simulation);
    const [one, four] = [profile.cells[0], profile.cells[1]];
    const remedy = must(findRemedy(profile, "rows"), "remedy");
    expect(remedy.gain_ratio).toBeCloseTo(1 - must(four, "cell").step_off_ms / 4 / must(one, "cell").step_off_ms, 2);
    expect(remedy.words).toContain("4 sequences");
  });

  it("says what smaller keys and values save where the context is what grew", () => {
    const model = { like: "gpt2-124m", type: "q4_0" };
    const long = profileOf({ model, cells: [DECODE, ["decode", 1, 8192]] });
    const attention = must(
      long.bottlenecks.find(({ role }) => role === "attention"),
      "bottleneck",
    );
    expect(attention.context).toBe(8192);
    const remedy = must(
      attention.remedies.find(({ kind }) => kind === "kv"),
      "remedy",
    );
    const cell = { phase: "decode", rows: 1, context: 8192, outputRows: 1 } as const;
    const raw = simulateProfile({ model });
    const kvMs = raw.work.units.reduce((sum, unit) => sum + countWork(unit, "total", cell).kvBytesMoved, 0) / 20e6;
    expect(remedy.gain_ratio).toBeCloseTo((kvMs * (1 - 8.5 / 16)) / must(long.cells[1], "cell").step_off_ms, 1);
    expect(findRemedy(profileOf({ model, cells: [DECODE] }), "kv")).toBeUndefined();
  });

  it("cuts in two where the times are equal, not the bytes", () => {
    // The embedding has the bytes of four blocks and takes no time.
    const profile = profileOf({ model: { like: "llama-1b", layers: 8, vocab: 65_536, type: "q4_0" }, cells: [DECODE] });
    const remedy = must(findRemedy(profile, "cut"), "remedy");
    const [, cut] = /cut at (\d+)/.exec(remedy.words) ?? [];
    const times = profile.cost_model.classes.flatMap(({ units, decode }) => units.map(() => decode.ms[0]?.[0] ?? 0));
    const slowest = (at: number) => {
      const sum = (part: readonly number[]) => part.reduce((total, ms) => total + ms, 0);
      return Math.max(sum(times.slice(0, at)), sum(times.slice(at)));
    };
    const best = Math.min(...times.slice(1).map((_, index) => slowest(index + 1)));
    expect(slowest(Number(cut))).toBeCloseTo(best, 6);
    expect(remedy.because).toContain("balances the bytes, leaves");
  });

  it("offers no second machine for a part of a model", () => {
    const profile = profileOf({
      model: { like: "llama-1b", layers: 4, type: "q4_0" },
      cells: [DECODE],
      units: "1:3",
      measured: ({ unit }) => unit >= 1 && unit < 3,
    });
    expect(findRemedy(profile, "cut")).toBeUndefined();
    const [first] = profile.bottlenecks;
    expect(first?.remedies).toEqual([]);
    expect(first?.words).toContain("would save 1%");
  });

  it("calls starting small operations by its name", () => {
    const profile = profileOf({
      model: { like: "gpt2-124m", layers: 2, vocab: 512, type: "q4_0" },
      machine: { operationMs: 1, noise: 0.001 },
      cells: [DECODE],
    });
    expect(profile.bottlenecks[0]?.bound).toBe("overhead");
    expect(profile.bottlenecks[0]?.words).toContain("synchronising");
  });

  it("doubles the chunk where part of its cost is paid once", () => {
    const profile = profileOf({
      model: { like: "llama-1b", layers: 4, type: "q4_0" },
      machine: { operationMs: 3, noise: 0.001 },
      cells: [
        ["prefill", 8, 0],
        ["prefill", 16, 0],
      ],
    });
    const remedy = must(findRemedy(profile, "chunk"), "remedy");
    expect(remedy.words).toContain("chunks of 32");
    expect(remedy.gain_ratio).toBeGreaterThan(0.05);
  });

  it("looks at one row behind the longest context, at the most rows, and at the longest chunk", () => {
    const profile = profileOf({ model: { like: "gpt2-124m" } });
    const cells = new Set(profile.bottlenecks.map(({ phase, rows, context }) => `${phase} ${rows} ${context}`));
    expect([...cells]).toEqual(["decode 1 2048", "decode 16 0", "prefill 256 0"]);
  });

  it("never promises more than all, and finite figures only", () => {
    for (const level of ["layer", "role", "node"] as const) {
      const { bottlenecks } = profileOf({ model: { like: "mixtral-8x7b", layers: 3, type: "q4_k_m" }, level });
      for (const { share, ms, remedies } of bottlenecks) {
        expect(share).toBeLessThanOrEqual(1);
        expect(Number.isFinite(ms)).toBe(true);
        for (const { gain_ratio } of remedies) expect(gain_ratio >= 0.01 && gain_ratio <= 1).toBe(true);
      }
    }
  });
});
