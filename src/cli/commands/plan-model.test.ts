import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ModelPlan, readModelPlan } from "../../placement/index.ts";
import { collectHost } from "../host.ts";
import { runCli } from "../program.ts";

const QUICK = [
  "--level",
  "layer",
  "--prefill",
  "16",
  "--decode-rows",
  "1,4",
  "--contexts",
  "0,64",
  "--budget",
  "1500ms",
  "--threads",
  "1",
];

const CLUSTER = `schema: noodle/v1
nodes:
  - {name: desk, profile: desk, memory: 1GiB}
  - {name: laptop, profile: laptop/profile.json, scale: {decode: 2, prefill: 2}, memory: 1GiB}
  - {name: server, hardware: {memory_gb_per_s: 60, compute_gflops: 300}, memory: 1GiB}
links:
  default: {latency_ms: 0.05, bandwidth: 1Gbit/s}
`;

describe("noodle plan MODEL", () => {
  let folder = "";
  let model = "";
  let cluster = "";
  const run = async (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
    const host = collectHost();
    const code = await runCli(["plan", ...args], host);
    return { code, ...host.written };
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "noodle-plan-model-"));
    model = join(folder, "model.gguf");
    cluster = join(folder, "cluster.yaml");
    const dummy = ["dummy", "llama", "--layers", "4", "--vocab", "512", "-o", model];
    expect(await runCli(dummy, collectHost())).toBe(0);
    for (const name of ["desk", "laptop"]) {
      expect(await runCli(["profile", model, ...QUICK, "--out", join(folder, name)], collectHost())).toBe(0);
    }
    writeFileSync(cluster, CLUSTER);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("plans a model on measured, scaled and imagined machines, and writes document and page", async () => {
    const [file, page] = [join(folder, "plan.json"), join(folder, "plan.html")];
    const args = [
      "--cluster",
      cluster,
      "--streams",
      "4",
      "--context",
      "128",
      "--compare",
      "-o",
      file,
      "--report",
      page,
    ];
    const { code, stdout, stderr } = await run(model, ...args, "--json");
    expect(stderr).not.toContain("noodle:");
    expect(code).toBe(0);
    const plan = JSON.parse(stdout) as ModelPlan;
    expect(readModelPlan(readFileSync(file, "utf8"))).toEqual(plan);
    expect(plan).toMatchObject({ schema: "noodle.model_plan.v1", feasible: true, bound: { proven: true } });
    expect(plan.stages.at(-1)?.end).toBe(6);
    expect(plan.alone).toHaveLength(3);
    expect(plan.predicted?.tokens_per_s).toBeGreaterThanOrEqual((plan.alone[0]?.tokens_per_s ?? 0) * (1 - 1e-9));
    expect(plan.baselines).toHaveLength(9);
    expect(readFileSync(page, "utf8")).toContain("<!doctype html>");
  });

  test("speaks in words first, with every objective", async () => {
    for (const objective of ["throughput", "latency", "pareto", "fewest-nodes"]) {
      const args = ["--cluster", cluster, "--objective", objective, "--streams", "2", "--context", "128"];
      const { code, stdout } = await run(model, ...args, "--report", join(folder, "plan.txt"));
      expect(code).toBe(0);
      expect(stdout).toContain("What binds");
      expect(stdout).toContain("--split 0:");
      expect(readFileSync(join(folder, "plan.txt"), "utf8")).toBe(stdout);
    }
  });

  test("takes a profile for a node that the file gives none, and another rule's plan", async () => {
    const bare = join(folder, "bare.yaml");
    writeFileSync(
      bare,
      'schema: noodle/v1\nnodes: [{name: a, address: "10.0.0.1:1"}, {name: b, address: "10.0.0.2:1"}]\n',
    );
    const none = await run(model, "--cluster", bare);
    expect(none.code).toBe(2);
    expect(none.stderr).toContain("noodle profile MODEL");
    const profiles = ["--profile", `a=${join(folder, "desk")}`, "--profile", join(folder, "laptop", "profile.json")];
    const { code, stdout } = await run(
      model,
      "--cluster",
      bare,
      ...profiles,
      "--baseline",
      "equal",
      "--context",
      "128",
      "--json",
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ algorithm: "baseline equal", order: ["a", "b"], split: "0:3,3:6" });
  });

  test("of no plan gives the document, says what is short, and ends with an error", async () => {
    const small = join(folder, "small.yaml");
    writeFileSync(small, "schema: noodle/v1\nnodes: [{name: a, profile: desk, memory: 97MiB}]\n");
    const { code, stdout, stderr } = await run(
      model,
      "--cluster",
      small,
      "--streams",
      "512",
      "--context",
      "128",
      "--json",
    );
    expect(code).toBe(1);
    expect(stderr).toContain("PLAN_INFEASIBLE");
    expect(JSON.parse(stdout)).toMatchObject({ feasible: false, split: null });
  });

  test.each([
    ["no cluster", []],
    ["a cluster file that is not there", ["--cluster", "none.yaml"]],
    ["an objective that is none", ["--cluster", "CLUSTER", "--objective", "best"]],
    ["no streams", ["--cluster", "CLUSTER", "--streams", "0"]],
    ["a baseline that is none", ["--cluster", "CLUSTER", "--baseline", "best"]],
    ["a profile that is not there", ["--cluster", "CLUSTER", "--profile", "desk=none.json"]],
    ["a profile of an unknown node", ["--cluster", "CLUSTER", "--profile", "desc=FOLDER/desk"]],
    ["a problem, too", ["--cluster", "CLUSTER", "--problem", "x.json"]],
  ])("refuses %s", async (_what, args) => {
    const given = args.map((arg) => arg.replace("CLUSTER", cluster).replace("FOLDER", folder));
    const { code, stdout } = await run(model, ...given, "--json");
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ schema: "noodle.error.v1" });
  });

  test("refuses a profile of another model, naming both", async () => {
    const { code, stderr } = await run(join(process.cwd(), "models/storyteller-q8_0.gguf"), "--cluster", cluster);
    expect(code).toBe(2);
    expect(stderr).toContain("PROFILE_MISMATCH");
  });
});
