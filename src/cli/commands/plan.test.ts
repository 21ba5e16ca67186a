import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { collectHost } from "../host.ts";
import { runCli } from "../program.ts";

const PROBLEM = {
  units: 4,
  nodes: [
    { id: "a", unit_ms: [1, 2, 2, 3] },
    { id: "b", unit_ms: [2, 4, 4, 6] },
  ],
  links: { default: { latency_ms: 1, bytes_per_ms: 1000 } },
  activation_bytes: 1000,
  objective: "period",
};

describe("noodle plan", () => {
  let folder = "";
  let file = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "noodle-plan-"));
    file = join(folder, "problem.json");
    writeFileSync(file, JSON.stringify(PROBLEM));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("writes one document with --json", async () => {
    const host = collectHost();
    expect(await runCli(["plan", "--problem", file, "--json", "--compare"], host)).toBe(0);
    const document = JSON.parse(host.written.stdout) as Record<string, unknown>;
    expect(document).toMatchObject({ schema: "noodle.plan.v1", feasible: true, proven: true, period_ms: 6 });
    expect(document["comparison"]).toHaveLength(9);
  });

  test("speaks in words first, then shows tables, and keeps both in a report", async () => {
    const host = collectHost();
    const report = join(folder, "plan.txt");
    expect(await runCli(["plan", "--problem", file, "--compare", "--report", report], host)).toBe(0);
    expect(host.written.stdout).toContain("What binds");
    expect(host.written.stdout).toContain("One more node like");
    expect(host.written.stdout).toContain("llama.cpp");
    expect(readFileSync(report, "utf8")).toBe(host.written.stdout);
  });

  test("gives a baseline's plan, and refuses one that it does not know", async () => {
    const host = collectHost();
    expect(await runCli(["plan", "--problem", file, "--baseline", "equal", "--json"], host)).toBe(0);
    expect(JSON.parse(host.written.stdout)).toMatchObject({ algorithm: "baseline equal", feasible: true });
    expect(await runCli(["plan", "--problem", file, "--baseline", "best"], collectHost())).toBe(2);
  });

  test("refuses a damaged problem with a typed error and the path in it", async () => {
    const bad = join(folder, "bad.json");
    writeFileSync(bad, JSON.stringify({ ...PROBLEM, units: -1 }));
    const host = collectHost();
    expect(await runCli(["plan", "--problem", bad, "--json"], host)).toBe(2);
    expect(JSON.parse(host.written.stdout)).toMatchObject({ code: "PROBLEM_INVALID", details: { path: "units" } });
    expect(await runCli(["plan", "--problem", join(folder, "none.json")], collectHost())).toBe(2);
  });

  test("makes another objective and replicas best where they are asked for", async () => {
    const host = collectHost();
    expect(await runCli(["plan", "--problem", file, "--objective", "latency", "--json"], host)).toBe(0);
    expect(JSON.parse(host.written.stdout)).toMatchObject({ objective: "latency", latency_ms: 8, nodes: 1 });
    const wide = collectHost();
    expect(await runCli(["plan", "--problem", file, "--replicas", "2", "--json"], wide)).toBe(0);
    const { period_ms: periodMs } = JSON.parse(wide.written.stdout) as { period_ms: number };
    expect(periodMs).toBeLessThan(6);
  });

  test.each([
    ["a cluster", ["--cluster", "cluster.yaml"]],
    ["streams", ["--streams", "4"]],
    ["a profile", ["--profile", "a=profile.json"]],
    ["rows in whole blocks", ["--deterministic"]],
    ["a page", ["--report", "plan.html"]],
  ])("refuses %s beside a problem instead of forgetting it", async (_what, args) => {
    const host = collectHost();
    expect(await runCli(["plan", "--problem", file, ...args, "--json"], host)).toBe(2);
    expect(JSON.parse(host.written.stdout)).toMatchObject({ code: "USAGE" });
  });

  test("refuses replicas of a model", async () => {
    const host = collectHost();
    const args = ["models/storyteller-q8_0.gguf", "--cluster", "examples/cluster.yaml", "--replicas", "2", "--json"];
    expect(await runCli(["plan", ...args], host)).toBe(2);
    expect(JSON.parse(host.written.stdout)).toMatchObject({ code: "USAGE" });
  });
});
