import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readProfile } from "../../src/profile/index.ts";
import { readRequestTrace } from "../../src/trace/index.ts";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { readStageManifest } from "../../src/model/index.ts";
import { openGguf } from "../../src/gguf/index.ts";
import { GenerateDocument, InspectDocument } from "./documents.ts";
import { runNoodle, STORYTELLER, startNoodle, tempPath } from "./noodle.ts";

const LIMIT_MS = 120_000;

function sha256(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

describe("noodle inspect", () => {
  test("lists the units of the bundled model, whose bytes add up to its tensors'", { timeout: LIMIT_MS }, async () => {
    const { code, stdout } = await runNoodle(["inspect", STORYTELLER, "--json"]);
    const document = InspectDocument.parse(JSON.parse(stdout));
    expect({ code, ...document }).toMatchObject({ code: 0, architecture: "gpt2", tied_head: true, vocab_size: 4096 });
    expect(document.units.map((unit) => unit.index)).toEqual(Array.from({ length: 14 }, (_, index) => index));
    expect(document.legal_cuts.length + document.illegal_cuts.length).toBe(13);
    const file = await openGguf(STORYTELLER);
    await file.close();
    const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
    expect(sum(document.units.map((unit) => unit.bytes))).toBe(sum(file.header.tensors.map((tensor) => tensor.bytes)));
  });

  test("probes row classes when asked to", { timeout: LIMIT_MS }, async () => {
    const { code, stdout } = await runNoodle(["inspect", STORYTELLER, "--row-classes", "--threads", "1", "--json"]);
    const { row_classes: classes } = z
      .object({
        row_classes: z.object({ schema: z.literal("noodle.row_classes.v1"), weights: z.array(z.unknown()).min(1) }),
      })
      .parse(JSON.parse(stdout));
    expect({ code, schema: classes.schema }).toEqual({ code: 0, schema: "noodle.row_classes.v1" });
  });
});

describe("noodle cut", () => {
  test("writes a stage with a manifest of its source", { timeout: LIMIT_MS }, async () => {
    const path = tempPath("stage.gguf");
    const { code, stdout } = await runNoodle(["cut", STORYTELLER, "--units", "3:7", "-o", path, "--json"]);
    expect({ code, ...(JSON.parse(stdout) as object) }).toMatchObject({
      code: 0,
      schema: "noodle.cut.v1",
      units: "3:7",
      unit_count: 14,
      sha256: sha256(path),
      source_sha256: sha256(STORYTELLER),
    });
    const stage = await openGguf(path);
    await stage.close();
    expect(readStageManifest(stage.header)).toMatchObject({
      units: { first: 3, end: 7 },
      sourceSha256: sha256(STORYTELLER),
    });
  });
});

describe("noodle dummy and noodle quantize", () => {
  test("give the same bytes for the same seed, other bytes for another, and models that run", {
    timeout: LIMIT_MS,
  }, async () => {
    const make = async (name: string, seed: string): Promise<string> => {
      const path = tempPath(`${name}.gguf`);
      const shape = [
        "--layers",
        "2",
        "--embd",
        "64",
        "--heads",
        "4",
        "--kv-heads",
        "2",
        "--ff",
        "128",
        "--vocab",
        "300",
      ];
      const { code } = await runNoodle(["dummy", "llama", ...shape, "--type", "f16", "--seed", seed, "-o", path]);
      expect(code).toBe(0);
      return path;
    };
    const [first, same, other] = [await make("first", "5"), await make("same", "5"), await make("other", "6")];
    expect(sha256(first)).toBe(sha256(same));
    expect(sha256(first)).not.toBe(sha256(other));
    const quantized = tempPath("quantized.gguf");
    expect((await runNoodle(["quantize", first, "--type", "q8_0", "-o", quantized])).code).toBe(0);
    const { stdout } = await runNoodle(["generate", quantized, "-p", "abc", "-n", "3", "--reference", "--json"]);
    expect(GenerateDocument.parse(JSON.parse(stdout)).token_ids.length).toBeGreaterThan(0);
  });
});

describe("noodle doctor", () => {
  test("finds nothing wrong where the tests run", { timeout: LIMIT_MS }, async () => {
    const { code, stdout } = await runNoodle(["doctor", "--json"]);
    expect({ code, ...(JSON.parse(stdout) as object) }).toMatchObject({
      code: 0,
      schema: "noodle.doctor.v1",
      ok: true,
    });
  });

  test("names what is missing, with a cure, when there is no engine", { timeout: LIMIT_MS }, async () => {
    const { code, stdout } = await runNoodle(["doctor", "--json"], { NOODLE_ENGINE_DIR: tempPath("no-engine") });
    const document = z
      .object({
        ok: z.boolean(),
        checks: z.array(z.object({ name: z.string(), status: z.string(), cure: z.string().nullable() })),
      })
      .parse(JSON.parse(stdout));
    const engine = document.checks.find(({ name }) => name === "engine");
    expect({ code, ok: document.ok, status: engine?.status }).toEqual({ code: 1, ok: false, status: "failure" });
    expect(engine?.cure).not.toBeNull();
  });
});

describe("noodle demo", () => {
  const files = [
    "profile.json",
    "plan.json",
    "simulation.json",
    "simulation.streams.json",
    "trace.json",
    "trace.request.json",
    "story.txt",
    "verify.json",
    "stages.jsonl",
    "logs/coordinator.step.000000.jsonl",
    "summary.json",
    "report.html",
    "report.json",
  ];

  test("does the main job: exact, files written, nothing left running", { timeout: LIMIT_MS }, async () => {
    const folder = tempPath("run");
    const run = startNoodle(["demo", "-n", "24", "--out", folder, "--json"]);
    const { code, stdout } = await run.finished;
    const summary = z
      .object({
        schema: z.literal("noodle.demo.v1"),
        files: z.array(z.string()),
        verify: z.object({ identical_kv: z.literal(true) }),
        recovery: z.object({
          cause: z.literal("peer_dead"),
          tokens: z.literal(24),
          equal_tokens: z.literal(24),
          identical_logits: z.literal(true),
          identical_kv: z.literal(true),
          pause_ms: z.number().positive(),
          tokens_refilled: z.int().positive(),
          stages_before: z.array(z.string()).length(3),
          stages_after: z.array(z.string()).length(2),
        }),
      })
      .parse(JSON.parse(stdout));
    expect({ code, files: summary.files }).toEqual({ code: 0, files: files.map((name) => name.split("/")[0]) });
    for (const name of files) expect(readFileSync(`${folder}/${name}`, "utf8").length).toBeGreaterThan(0);
    readProfile(readFileSync(`${folder}/profile.json`, "utf8"));
    expect(readRequestTrace(readFileSync(`${folder}/trace.request.json`, "utf8")).stages).toHaveLength(3);
    expect(run.processes()).toEqual([]);
  });
});
