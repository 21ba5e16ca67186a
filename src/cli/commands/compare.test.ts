import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { completeProfile } from "../../profile/index.ts";
import { simulateProfile } from "../../profile/testing.ts";
import { type CollectedHost, collectHost } from "../host.ts";
import { runCli } from "../program.ts";

let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "noodle-compare-"));
  const model = { like: "gpt2-124m", layers: 2, type: "q8_0" };
  const profiles = {
    slow: completeProfile(simulateProfile({ model, machine: { memoryGbPerS: 5 } })),
    quick: completeProfile(simulateProfile({ model })),
  };
  for (const [name, profile] of Object.entries(profiles)) {
    await mkdir(join(folder, name));
    await writeFile(join(folder, name, "profile.json"), JSON.stringify(profile));
    const run = { schema: "noodle.demo.v1", threads: 2, decode_tokens_per_sec: name === "slow" ? 10 : 40 };
    await writeFile(join(folder, name, "summary.json"), JSON.stringify(run));
  }
  await mkdir(join(folder, "empty"));
  await writeFile(join(folder, "text"), "no document");
  await writeFile(join(folder, "other.json"), JSON.stringify({ schema: "other.v1" }));
  await writeFile(join(folder, "later.json"), JSON.stringify({ schema: "noodle.profile.v2" }));
  await writeFile(join(folder, "plain.json"), JSON.stringify({ schema: "noodle.split.v1", split: "0:3" }));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function compare(...args: string[]): Promise<{ exit: number; host: CollectedHost }> {
  const host = collectHost();
  const paths = args.map((arg) => (arg.startsWith("-") ? arg : join(folder, arg)));
  return { exit: await runCli(["compare", ...paths], host), host };
}

describe("noodle compare", () => {
  it("says the largest changes of two run folders first, then shows both sides", async () => {
    const { exit, host } = await compare("slow", "quick");
    expect(exit).toBe(0);
    const [first = "", second = ""] = host.written.stdout.split("\n");
    expect(first).toMatch(/became .* \(x 0\.2\d\)/);
    expect(second).toMatch(/became/);
    expect(host.written.stdout).toContain("decode_tokens_per_sec: 10 became 40 (x 4.00).");
    expect(host.written.stdout).toMatch(/class +role +phase +rows/);
    expect(host.written.stdout).toContain("more lines with --all");
  });

  it("writes one document with --json", async () => {
    const { exit, host } = await compare("slow/profile.json", "quick", "--json");
    expect(exit).toBe(0);
    const document = JSON.parse(host.written.stdout) as { schema: string; parts: unknown[]; figures: unknown[] };
    expect(document.schema).toBe("noodle.compare.v1");
    expect(document.parts.length).toBeGreaterThan(20);
    expect(document.figures).toEqual([]);
  });

  it("finds nothing between a run and itself", async () => {
    const { host } = await compare("quick", "quick");
    expect(host.written.stdout).toMatch(/^No change that matters/);
  });

  it.each([
    ["a missing file", "nowhere", "FILE_NOT_FOUND"],
    ["a folder without documents", "empty", "FILE_NOT_FOUND"],
    ["no JSON", "text", "PROFILE_INVALID"],
    ["a document of something else", "other.json", "PROFILE_INVALID"],
    ["a later version of a profile", "later.json", "PROFILE_INVALID"],
    ["a document without figures", "plain.json", "PROFILE_INVALID"],
    ["a run beside a profile", "slow/summary.json", "USAGE"],
  ])("refuses %s", async (_what, path, code) => {
    const { exit, host } = await compare(path, "quick/profile.json");
    expect(exit).toBe(2);
    expect(host.written.stderr).toContain(`noodle: ${code}: `);
  });
});
