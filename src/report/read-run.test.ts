import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readReportInputs } from "./read-run.ts";
import { makeProfile, type RunShape, writeRunFolder } from "./testing.ts";

const SHAPE: RunShape = { steps: 300, requests: 3, stages: ["0:7", "7:14"] };
const OPTIONS = { noodlecoreVersion: "0.1.0" };

describe("reading a run folder", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "noodle-report-"));
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("gives its plan, its profile and the digest of its logs", async () => {
    writeRunFolder(folder, SHAPE);
    writeFileSync(join(folder, "profile.json"), JSON.stringify(makeProfile()));
    const { run, profiles, sources } = await readReportInputs([folder], OPTIONS);
    expect(run?.plan?.split).toBe("0:7,7:14");
    expect(run?.digest?.steps).toBe(300);
    expect(run?.digest?.stages.map(({ units }) => units)).toEqual(["0:7", "7:14"]);
    expect(run?.digest?.nodes).toHaveLength(2);
    expect(profiles).toHaveLength(1);
    expect(sources.filter(({ damaged }) => damaged)).toEqual([]);
  });

  test("reads half-written logs as far as they are good, and counts the rest by line", async () => {
    writeRunFolder(folder, SHAPE);
    appendFileSync(join(folder, "logs", "coordinator.step.000000.jsonl"), '{"schema":"noodle.step.v1","seq":300,"mo');
    const { run, sources } = await readReportInputs([folder], OPTIONS);
    expect(run?.digest?.steps).toBe(300);
    const steps = sources.find(({ name }) => name === "logs/coordinator.step.000000.jsonl");
    expect(steps?.damaged).toBe(true);
    expect(steps?.detail).toContain("300 rows; 1 line could not be read (line 301");
  });

  test("passes over a damaged profile as long as there is a run, and names it", async () => {
    writeRunFolder(folder, SHAPE);
    writeFileSync(join(folder, "profile.json"), '{"schema":"noodle.profile.v1","units":');
    const { profiles, run, sources } = await readReportInputs([folder], OPTIONS);
    expect(profiles).toEqual([]);
    expect(run?.digest?.steps).toBe(300);
    expect(sources.find(({ name }) => name === "profile.json")?.damaged).toBe(true);
  });

  test("refuses a folder whose only file is a damaged profile", async () => {
    writeFileSync(join(folder, "profile.json"), "{");
    await expect(readReportInputs([folder], OPTIONS)).rejects.toMatchObject({ code: "PROFILE_INVALID" });
  });

  test("refuses a damaged profile that is given by itself", async () => {
    const path = join(folder, "mine.json");
    writeFileSync(path, JSON.stringify({ schema: "noodle.profile.v2" }));
    await expect(readReportInputs([path], OPTIONS)).rejects.toMatchObject({ code: "PROFILE_INVALID" });
  });

  test("refuses a folder with nothing to report on, and a path that is not there", async () => {
    mkdirSync(join(folder, "logs"));
    writeFileSync(join(folder, "notes.txt"), "hello");
    await expect(readReportInputs([folder], OPTIONS)).rejects.toMatchObject({ code: "RUN_FOLDER_INVALID" });
    await expect(readReportInputs([join(folder, "none")], OPTIONS)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  test("refuses a second run, and takes a second profile", async () => {
    writeRunFolder(folder, SHAPE);
    const profile = join(folder, "other.json");
    writeFileSync(profile, JSON.stringify(makeProfile()));
    await expect(readReportInputs([folder, folder], OPTIONS)).rejects.toMatchObject({ code: "RUN_FOLDER_INVALID" });
    const { profiles } = await readReportInputs([profile, profile], OPTIONS);
    expect(profiles.map(({ name }) => name)).toEqual(["other", "other"]);
  });

  test("refuses logs of a later release", async () => {
    writeRunFolder(folder, SHAPE);
    writeFileSync(join(folder, "logs", "coordinator.link.000000.jsonl"), '{"schema":"noodle.link.v9"}\n');
    await expect(readReportInputs([folder], OPTIONS)).rejects.toMatchObject({ code: "LOG_VERSION" });
  });

  test("stops when it is told to", async () => {
    writeRunFolder(folder, SHAPE);
    const stop = new AbortController();
    stop.abort(new Error("enough"));
    await expect(readReportInputs([folder], { ...OPTIONS, signal: stop.signal })).rejects.toThrow("enough");
  });

  test("keeps what a long log comes down to as small as that of a short one", async () => {
    const bytes = writeRunFolder(folder, { ...SHAPE, steps: 3000 }, 16);
    expect(bytes).toBeGreaterThan(3e7);
    const { run } = await readReportInputs([folder], OPTIONS);
    expect(run?.digest?.steps).toBe(48_000);
    expect(run?.digest?.series?.points.length).toBeLessThanOrEqual(240);
    expect(run?.digest?.heat?.columns.length).toBeLessThanOrEqual(160);
    expect(JSON.stringify(run).length).toBeLessThan(400_000);
  });
});
