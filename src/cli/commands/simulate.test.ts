import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DummyOptions, generateDummy } from "../../model/index.ts";
import { makeProfile } from "../../placement/testing.ts";
import { simulationSchema } from "../../sim/index.ts";
import { collectHost } from "../host.ts";
import { runCli } from "../program.ts";
import { whatifSchema } from "../whatif-document.ts";

/** A folder with a model, a profile of it, and clusters. */
interface SimFolder {
  readonly path: string;
  readonly model: string;
  /** `a`, and `b` at half its speed. */
  readonly cluster: string;
  write(name: string, text: string): string;
  remove(): void;
}

const MODEL: DummyOptions = { layers: 8, embd: 256, heads: 4, ff: 1024, vocab: 512, contextLength: 512, type: "f16" };

const CLUSTER = `schema: noodle/v1
nodes:
  - {name: a, profile: profile.json, memory: 1GiB}
  - {name: b, profile: profile.json, scale: {decode: 2, prefill: 2}, memory: 1GiB}
links:
  default: {latency_ms: 0.05, bandwidth: 1Gbit/s}
`;

async function makeSimFolder(): Promise<SimFolder> {
  const path = mkdtempSync(join(tmpdir(), "noodle-sim-"));
  const write = (name: string, text: string): string => {
    writeFileSync(join(path, name), text);
    return join(path, name);
  };
  const model = join(path, "model.gguf");
  await generateDummy(MODEL, model);
  write("profile.json", JSON.stringify(makeProfile(MODEL)));
  return {
    path,
    model,
    cluster: write("cluster.yaml", CLUSTER),
    write,
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}

describe("noodle simulate and noodle whatif", () => {
  let folder: SimFolder;
  let base: readonly string[] = [];
  beforeAll(async () => {
    folder = await makeSimFolder();
    base = ["--cluster", folder.cluster, "--streams", "4", "--context", "128", "--requests", "20"];
  });
  afterAll(() => folder.remove());

  const run = async (...args: string[]) => {
    const host = collectHost();
    const exit = await runCli(args, host);
    return { exit, ...host.written };
  };
  const runJson = async (...args: string[]) => {
    const { exit, stdout, stderr } = await run(...args, "--json");
    return { exit, stderr, document: JSON.parse(stdout) as Record<string, unknown> };
  };
  const lengths = ["--prompt-tokens", "16..32", "--gen-tokens", "8"];

  it("says the same figures for the same seed, in a document that its schema takes", async () => {
    const first = await runJson("simulate", folder.model, ...base, ...lengths, "--seed", "5");
    expect(first.exit).toBe(0);
    const document = simulationSchema.parse(first.document);
    expect(document.requests).toMatchObject({ finished: 20, refused: 0, generated_tokens: 160 });
    expect(document.throughput.tokens_per_s).toBeGreaterThan(0);
    const again = await runJson("simulate", folder.model, ...base, ...lengths, "--seed", "5");
    expect(again.document["event_hash"]).toBe(document.event_hash);
    const other = await runJson("simulate", folder.model, ...base, ...lengths, "--seed", "6");
    expect(other.document["event_hash"]).not.toBe(document.event_hash);
  });

  it("simulates a plan that was written before, as it was planned", async () => {
    const plan = join(folder.path, "plan.json");
    const planned = await run(
      "plan",
      folder.model,
      "--cluster",
      folder.cluster,
      "--streams",
      "4",
      "--context",
      "128",
      "-o",
      plan,
    );
    expect(planned.exit).toBe(0);
    const one = await runJson("simulate", plan, ...base, ...lengths);
    const two = await runJson("simulate", folder.model, ...base, ...lengths);
    expect(one.document["event_hash"]).toBe(two.document["event_hash"]);
  });

  it("writes a trace of all steps and a page that asks for nothing from the network", async () => {
    const [trace, page] = [join(folder.path, "trace.json"), join(folder.path, "sim.html")];
    const { exit, stdout } = await run(
      "simulate",
      folder.model,
      ...base,
      ...lengths,
      "--trace",
      trace,
      "--report",
      page,
    );
    expect(exit).toBe(0);
    expect(stdout).toContain("tokens/s");
    const { traceEvents } = JSON.parse(readFileSync(trace, "utf8")) as { traceEvents: { ph: string; dur?: number }[] };
    expect(traceEvents.filter(({ ph }) => ph === "b")).toHaveLength(20);
    expect(traceEvents.filter(({ ph }) => ph === "X").every(({ dur = -1 }) => dur >= 0)).toBe(true);
    const html = readFileSync(page, "utf8");
    expect(html).toContain("default-src 'none'");
    expect(html).toContain("Simulated: 20 requests");
  });

  it("takes a workload file, and names the lines that it leaves out", async () => {
    const lines = [
      '{"timestamp": 0, "input_length": 20, "output_length": 4, "hash_ids": [1]}',
      "not a request",
      '{"timestamp": 50, "input_length": 30, "output_length": 5}',
      '{"timestamp": 60, "input_length": 300, "output_length": 5}',
    ];
    const file = folder.write("trace.jsonl", `${lines.join("\n")}\n`);
    const options = ["--cluster", folder.cluster, "--context", "128", "--workload", file];
    const { exit, document, stderr } = await runJson("simulate", folder.model, ...options);
    expect(exit).toBe(0);
    expect(document["requests"]).toMatchObject({ finished: 2, refused: 1, generated_tokens: 9 });
    expect(document["workload"]).toMatchObject({ malformed_lines: 1, malformed: [{ line: 2 }] });
    expect(stderr).toContain("line 2");
    const none = await runJson(
      "simulate",
      folder.model,
      "--cluster",
      folder.cluster,
      "--workload",
      folder.write("no", "x"),
    );
    expect(none.document["code"]).toBe("WORKLOAD_INVALID");
  });

  it("lets a node of the cluster's file become slow, fail and come back", async () => {
    const text = readFileSync(folder.cluster, "utf8");
    const slow = folder.write("slow.yaml", `${text}slowdowns:\n  - {node: a, factor: 4, from_s: 0}\n`);
    const failing = folder.write("failing.yaml", `${text}failures:\n  - {node: a, at_s: 0.01}\n`);
    const rest = ["--streams", "4", "--context", "128", "--requests", "20", ...lengths];
    const [usual, slower, failed] = [
      await runJson("simulate", folder.model, "--cluster", folder.cluster, ...rest),
      await runJson("simulate", folder.model, "--cluster", slow, ...rest),
      await runJson("simulate", folder.model, "--cluster", failing, ...rest),
    ].map(({ document }) => simulationSchema.parse(document));
    expect(slower?.simulated_ms).toBeGreaterThan((usual?.simulated_ms ?? 0) * 1.5);
    expect(failed?.requests.finished).toBe(20);
    expect(failed?.requests.read_again).toBeGreaterThan(0);
    // Silence is noticed after the lease of 3 s; then the other node goes on alone.
    expect(failed?.simulated_ms).toBeGreaterThan(3000);
    expect(failed?.stages.at(-1)?.node).toBe("b");
  });

  it("says what a change would bring: a slower node costs, a node more never does", async () => {
    const ratioOf = async (...change: string[]) => {
      const { exit, document } = await runJson("whatif", folder.model, ...base, ...lengths, ...change);
      expect(exit).toBe(0);
      whatifSchema.parse(document);
      const cases = document["cases"] as { ratios: { tokens_per_s: number }; order: string[] }[];
      return { ratio: cases.at(-1)?.ratios.tokens_per_s ?? 0, order: cases.at(-1)?.order ?? [] };
    };
    expect((await ratioOf("--slow", "a=3x")).ratio).toBeLessThan(0.95);
    const node = folder.write("node.yaml", "{name: c, profile: profile.json, memory: 1GiB}\n");
    const more = await ratioOf("--add", node);
    expect(more.ratio).toBeGreaterThan(0.99);
    expect((await ratioOf("--remove", "a")).order).toEqual(["b"]);
    expect((await ratioOf("--type", "q4_0")).ratio).toBeGreaterThan(1.05);
    expect((await ratioOf("--link", "a,b=500:1")).ratio).toBeGreaterThan(0.5);
  });

  it("costs an imagined machine the same after a change that brings or takes a profile", async () => {
    const near = folder.write(
      "mixed.yaml",
      CLUSTER.replace(
        "links:",
        "  - {name: m, hardware: {memory_gb_per_s: 20, compute_gflops: 40}, memory: 1GiB}\nlinks:",
      ),
    );
    // Its operations cost much more beside bytes and arithmetic.
    folder.write("poor.json", JSON.stringify(makeProfile(MODEL, { operationMs: 1 })));
    const node = folder.write("poor.yaml", "{name: p, profile: poor.json, memory: 1GiB}\n");
    const args = ["--cluster", near, "--context", "128", "--requests", "5", "--remove", "a", "--remove", "b"];
    const alone = await runJson("whatif", folder.model, ...args, ...lengths);
    const added = await runJson("whatif", folder.model, ...args, ...lengths, "--add", node);
    const itlOf = ({ document }: { document: Record<string, unknown> }) => {
      const cases = document["cases"] as { order: string[]; simulation: { itl_ms: { p50: number } } }[];
      return cases.at(-1);
    };
    expect(itlOf(alone)?.order).toEqual(["m"]);
    expect(itlOf(added)).toMatchObject({ order: ["m"], simulation: { itl_ms: itlOf(alone)?.simulation.itl_ms } });
  });

  it("speaks of a change in words, with the cases side by side", async () => {
    const { exit, stdout } = await run("whatif", folder.model, ...base, ...lengths, "--slow", "a=3x");
    expect(exit).toBe(0);
    expect(stdout).toMatch(/slower a=3x: [\d.]+ tokens\/s become [\d.]+ tokens\/s \(x 0\.\d+\)/);
    expect(stdout).toContain("changed, planned anew");
  });

  it("refuses what has no sense", async () => {
    for (const [args, code] of [
      [["simulate", folder.model, ...base, "--rate", "2"], "USAGE"],
      [["simulate", join(folder.path, "none.gguf"), ...base], "FILE_NOT_FOUND"],
      [["simulate", folder.write("bad.json", "{}"), ...base], "PLAN_INVALID"],
      [["simulate", folder.model, ...base, "--prompt-tokens", "9..3"], "USAGE"],
      [["whatif", folder.model, ...base], "USAGE"],
      [["whatif", folder.model, ...base, "--remove", "z"], "USAGE"],
      [["whatif", folder.model, ...base, "--slow", "a"], "USAGE"],
      [["whatif", folder.model, ...base, "--link", "a,b"], "USAGE"],
      [["whatif", folder.model, ...base, "--type", "q99"], "GGUF_UNSUPPORTED"],
      [
        ["whatif", folder.model, ...base, "--add", folder.write("n.yaml", "{name: a, profile: profile.json}")],
        "CLUSTER_INVALID",
      ],
      [["whatif", folder.model, ...base, "--add", folder.write("m.yaml", "{name: d, colour: red}")], "CLUSTER_INVALID"],
    ] as const) {
      const { exit, document } = await runJson(...args);
      expect(document["code"], args.join(" ")).toBe(code);
      expect(exit).toBe(2);
    }
  });
});
