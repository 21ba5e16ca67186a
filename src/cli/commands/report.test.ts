import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { makeProfile, writeRunFolder } from "../../report/testing.ts";
import { collectHost } from "../host.ts";
import { runCli } from "../program.ts";

describe("noodle report", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "noodle-report-"));
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("writes the page and its data, and says what matters", async () => {
    writeRunFolder(folder, { steps: 200, requests: 2, stages: ["0:7", "7:14"] });
    writeFileSync(join(folder, "profile.json"), JSON.stringify(makeProfile()));
    const host = collectHost();
    expect(await runCli(["report", folder, "-o", join(folder, "report.html")], host)).toBe(0);
    const data = JSON.parse(readFileSync(join(folder, "report.json"), "utf8")) as {
      schema: string;
      statements: string[];
    };
    expect(data.schema).toBe("noodle.report.v1");
    expect(readFileSync(join(folder, "report.html"), "utf8")).toContain("<!doctype html>");
    for (const words of data.statements) expect(host.written.stdout).toContain(words);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  test("with --json writes the same document to stdout", async () => {
    const profile = join(folder, "profile.json");
    writeFileSync(profile, JSON.stringify(makeProfile()));
    const host = collectHost();
    expect(await runCli(["report", profile, "-o", join(folder, "report.html"), "--json"], host)).toBe(0);
    expect(JSON.parse(host.written.stdout)).toEqual(JSON.parse(readFileSync(join(folder, "report.json"), "utf8")));
  });

  test("never writes its data over what it read", async () => {
    const profile = join(folder, "profile.json");
    writeFileSync(profile, JSON.stringify(makeProfile()));
    expect(await runCli(["report", profile, "-o", join(folder, "profile.html")], collectHost())).toBe(0);
    expect(readFileSync(profile, "utf8")).toContain("noodle.profile.v1");
    expect(existsSync(join(folder, "profile.report.json"))).toBe(true);
  });

  test("ends with the code of the error when there is nothing to report on", async () => {
    const host = collectHost();
    expect(await runCli(["report", folder], host)).toBe(2);
    expect(host.written.stderr).toContain("RUN_FOLDER_INVALID");
  });
});
