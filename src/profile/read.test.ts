import { describe, expect, it } from "vitest";
import { checkProfileFor } from "./check-profile.ts";
import { completeProfile } from "./complete.ts";
import { MAX_PROFILE_BYTES, readProfile } from "./read.ts";
import { simulateProfile } from "./testing.ts";

const profile = completeProfile(simulateProfile({ model: { like: "gpt2-124m", layers: 2 } }));
const invalid = expect.objectContaining({ code: "PROFILE_INVALID" }) as Error;
const [row] = profile.units;
const [unitClass] = profile.cost_model.classes;
const table = unitClass?.decode;

describe("readProfile", () => {
  it("reads what was written, as text, bytes or value", () => {
    const text = JSON.stringify(profile);
    expect(readProfile(text)).toEqual(profile);
    expect(readProfile(Buffer.from(text))).toEqual(profile);
    expect(readProfile(JSON.parse(text))).toEqual(profile);
  });

  it("leaves out what it does not know", () => {
    expect(readProfile({ ...profile, later: 1, machine: { ...profile.machine, gpu: "none" } })).toEqual(profile);
  });

  it("names both versions when it refuses one", () => {
    expect(() => readProfile({ ...profile, schema: "noodle.profile.v2" })).toThrowError(
      expect.objectContaining({
        code: "PROFILE_INVALID",
        details: { found: "noodle.profile.v2", expected: "noodle.profile.v1" },
      }),
    );
  });

  const withClass = (decode: unknown): unknown => ({
    ...profile,
    cost_model: { ...profile.cost_model, classes: [{ ...unitClass, decode }] },
  });

  it.each<[string, unknown]>([
    ["no JSON", "{"],
    ["nothing", ""],
    ["null", null],
    ["a list", [profile]],
    ["no schema", { ...profile, schema: undefined }],
    ["a missing part", { ...profile, units: undefined }],
    ["a negative time", { ...profile, units: [{ ...row, p50_ms: -1 }] }],
    ["a time that is no number", { ...profile, units: [{ ...row, p50_ms: Number.NaN }] }],
    ["an infinite time", { ...profile, units: [{ ...row, p50_ms: Number.POSITIVE_INFINITY }] }],
    ["half a row", { ...profile, units: [{ ...row, rows: 0.5 }] }],
    ["an unknown role", { ...profile, units: [{ ...row, role: "magic" }] }],
    ["a table with a line too few", withClass({ ...table, ms: table?.ms.slice(1) })],
    ["a table with a short line", withClass({ ...table, ms: table?.ms.map((line) => line.slice(1)) })],
    ["a table whose rows do not rise", withClass({ ...table, rows: table?.rows.toReversed() })],
    ["a negative cell", withClass({ ...table, ms: table?.ms.map((line) => line.map(() => -1)) })],
  ])("refuses %s", (_what, input) => {
    expect(() => readProfile(input)).toThrowError(invalid);
  });

  it("refuses more bytes than any profile has before it parses them", () => {
    expect(() => readProfile(new Uint8Array(MAX_PROFILE_BYTES + 1))).toThrowError(invalid);
  });
});

describe("checkProfileFor", () => {
  const { machine, model } = profile;
  const same = {
    cpuModel: machine.cpu_model,
    cores: machine.cores,
    memoryTotalBytes: machine.memory_total_bytes * 1.01,
    engineBuild: machine.engine_build,
    engineVariant: machine.engine_variant,
    headerSha256: model.header_sha256 ?? "",
    unitCount: model.unit_count,
    threads: profile.settings.threads,
  };

  it("finds nothing where the profile was made, or where nothing is known", () => {
    expect(checkProfileFor(profile, same)).toEqual([]);
    expect(checkProfileFor(profile, {})).toEqual([]);
  });

  it.each<[string, object, string]>([
    ["another CPU", { cpuModel: "Other 1" }, "Other 1"],
    ["other memory", { memoryTotalBytes: 1e9 }, "memory"],
    ["another engine build", { engineBuild: "b2" }, "b2"],
    ["another CPU variant", { engineVariant: "zen4" }, "zen4"],
    ["another model", { headerSha256: "cd".repeat(32) }, "cd".repeat(32)],
    ["another number of threads", { threads: 3 }, "threads"],
  ])("names %s", (_what, change, word) => {
    const differences = checkProfileFor(profile, { ...same, ...change });
    expect(differences).toHaveLength(1);
    expect(differences[0]).toContain(word);
  });

  it("names what a partial profile, or one of a part, lacks", () => {
    const partial = { ...profile, partial: true, partial_reason: "power cut" };
    expect(checkProfileFor(partial, same)[0]).toContain("power cut");
    const classes = profile.cost_model.classes.filter(({ name }) => name !== "head");
    const part = { ...profile, cost_model: { ...profile.cost_model, classes } };
    expect(checkProfileFor(part, same)[0]).toContain("units without a measured class: 3");
  });
});
