import { describe, expect, it } from "vitest";
import { makeDummyHeader } from "../model/index.ts";
import { completeProfile, describeWork, type ProfileDocument, type RawProfile } from "../profile/index.ts";
import { chooseViewCells, renderProfile } from "./profile-view.ts";

const ROLES = {
  embedding: ["embedding.token", "embedding.position"],
  block: ["norm", "attention", "mlp"],
  head: ["norm", "head", "sampling"],
} as const;

/** A document of made-up times: 1 ms for each role of each unit. */
function makeDocument(like: string, edits: Partial<RawProfile> = {}): ProfileDocument {
  const work = describeWork(makeDummyHeader({ like, type: "f16" }));
  const steps = 6;
  const list = (ms: number): number[] => Array<number>(steps).fill(ms);
  const segments = work.units.flatMap(({ unit, kind }) =>
    ROLES[kind].map((role) => ({ unit, role, ms: list(1), segmentsPerStep: 1 })),
  );
  const cells = [
    { phase: "decode" as const, rows: 1, context: 0, outputRows: 1 },
    { phase: "decode" as const, rows: 4, context: 0, outputRows: 4 },
    { phase: "prefill" as const, rows: 16, context: 0, outputRows: 1 },
    { phase: "prefill" as const, rows: 64, context: 0, outputRows: 1 },
  ].map((cell) => ({
    ...cell,
    stepMs: list(segments.length + 1),
    stepOffMs: list(segments.length),
    hookMs: list(1),
    outsideMs: list(0.5),
    otherMs: list(0),
    segments,
  }));
  return completeProfile({
    createdUnixMs: 0,
    noodlecoreVersion: "0",
    machine: {
      name: "m",
      platform: "linux-x64",
      cpu_model: "Example",
      cores: 2,
      cpu_features: [],
      cache_bytes: { l1d: 0, l2: 0, l3: 0 },
      memory_total_bytes: 1e9,
      memory_gb_per_s: 40,
      memory_measured_by: "reading",
      compute_gflops: 300,
      compute_measured_by: "multiplying",
      engine_build: "b",
      engine_variant: "v",
      device: "cpu",
    },
    model: {
      name: like,
      architecture: work.architecture,
      header_sha256: null,
      path: null,
      file_bytes: 0,
      unit_count: work.units.length,
      embedding_length: 768,
      vocabulary: 50_257,
      weight_type: "f16",
    },
    settings: {
      units: `0:${work.units.length}`,
      threads: 2,
      level: "role",
      prefill_rows: [16, 64],
      decode_rows: [1, 4],
      contexts: [0, 512],
      budget_ms: 1000,
      synthetic: true,
      synthetic_blocks: 12,
    },
    partialReason: null,
    work,
    cells,
    skipped: [
      { phase: "decode", rows: 1, context: 512, reason: "no time" },
      { phase: "decode", rows: 4, context: 512, reason: "no time" },
    ],
    ...edits,
  });
}

/** The lines between the rule and the words below the first table. */
function tableOf(text: string): string[] {
  const lines = text.split("\n");
  const rule = lines.findIndex((line) => /^-+ {2}-/.test(line));
  return lines.slice(
    rule + 1,
    lines.findIndex((line) => line.startsWith("decode: ")),
  );
}

describe("renderProfile", () => {
  it("shows GPT-2 in forty rows", () => {
    const rows = tableOf(renderProfile(makeDocument("gpt2-124m"), false));
    expect(rows).toHaveLength(40);
    const count = (pattern: RegExp): number => rows.filter((row) => pattern.test(row)).length;
    expect(count(/token embedding/)).toBe(1);
    expect(count(/position embedding/)).toBe(1);
    for (const role of ["norm", "attention", "mlp"]) expect(count(new RegExp(`blk\\.\\d+ +${role} `))).toBe(12);
    expect(count(/final norm/)).toBe(1);
    expect(count(/head +head/)).toBe(1);
  });

  it("begins with the words, and says what was skipped, one line for each reason", () => {
    const document = makeDocument("gpt2-124m");
    const text = renderProfile(document, false);
    const words = document.summary[0] ?? "no summary";
    expect(text.indexOf(words)).toBeGreaterThan(0);
    expect(text.indexOf(words)).toBeLessThan(text.indexOf("token embedding"));
    expect(text).toContain("decode 1@512, decode 4@512: no time");
    for (const { words: bottleneck } of document.bottlenecks) expect(text).toContain(bottleneck);
  });

  it("lets alike blocks of a very deep model share lines, unless all are asked for", () => {
    const work = describeWork(makeDummyHeader({ layers: 100, type: "f16" }));
    const segments = work.units.map(({ unit }) => ({
      unit,
      role: "total" as const,
      ms: Array<number>(6).fill(1),
      segmentsPerStep: 1,
    }));
    const deep = makeDocument("gpt2-124m");
    const six = Array<number>(6).fill(1);
    const document = completeProfile({
      createdUnixMs: 0,
      noodlecoreVersion: "0",
      machine: deep.machine,
      model: { ...deep.model, unit_count: work.units.length },
      settings: { ...deep.settings, level: "layer", units: `0:${work.units.length}` },
      partialReason: null,
      work,
      cells: [
        {
          phase: "decode",
          rows: 1,
          context: 0,
          outputRows: 1,
          stepMs: six.map(() => 103),
          stepOffMs: six.map(() => 102),
          hookMs: six,
          outsideMs: six.map(() => 0.5),
          otherMs: six.map(() => 0),
          segments,
        },
      ],
      skipped: [],
    });
    expect(tableOf(renderProfile(document, true))).toHaveLength(102);
    const short = tableOf(renderProfile(document, false));
    expect(short.length).toBeLessThan(6);
    expect(short.join("\n")).toContain("x 99");
  });
});

describe("chooseViewCells", () => {
  it("takes decode of the fewest rows and prefill of the most, at the shortest context", () => {
    const { decode, prefill } = chooseViewCells(makeDocument("gpt2-124m").cells);
    expect([decode?.rows, prefill?.rows]).toEqual([1, 64]);
    expect(chooseViewCells([])).toEqual({ decode: null, prefill: null });
  });
});
