import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LocalCluster } from "../../src/cluster/local/index.ts";
import { must } from "../../src/common/index.ts";
import { loadEngine, Tokenizer } from "../../src/engine/index.ts";
import { type LayerRecord, ROLE_GROUPS, type StepRecord } from "../../src/observe/index.ts";
import { type ChromeTrace, countMissingLayers, readRequestTrace } from "../../src/trace/index.ts";
import { findFlaws } from "../../src/trace/testing.ts";
import { runNoodle, startNoodle, STORYTELLER, tempPath } from "../e2e/noodle.ts";
import { collect } from "./fake-cluster.ts";

/*
 * The bundled model over real worker processes and the real engine.
 */

const never = new AbortController().signal;
const ENTRY = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const SPLIT = "0:5,5:9,9:14";
const UNITS = Array.from({ length: 14 }, (_, unit) => unit);
const START_TIMEOUT_MS = 120_000;

let tokenizer: Tokenizer;
beforeAll(() => {
  loadEngine();
  tokenizer = Tokenizer.open(STORYTELLER);
});
afterAll(() => tokenizer[Symbol.dispose]());

function startCluster(more: Partial<Parameters<typeof LocalCluster.start>[0]>): Promise<LocalCluster> {
  const options = { model: STORYTELLER, tokenizer, workers: 3, entry: ENTRY, split: SPLIT, threads: 1 };
  return LocalCluster.start(
    { ...options, contextTokens: 256, parallel: 2, prefillRows: 16, ...more },
    { signal: never },
  );
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`never: ${what}`);
}

describe("a real cluster that is looked into", () => {
  it(
    "computes the same bits with every step observed as without hooks, and each stage tells of its own units",
    async () => {
      const steps: StepRecord[] = [];
      const layers: LayerRecord[] = [];
      const observer = {
        onStep: (record: StepRecord) => void steps.push(record),
        onLayer: (record: LayerRecord) => void layers.push(record),
      };
      const request = {
        prompt: "The old fisherman went down to the sea and looked for his boat, which the storm had taken.",
        maxTokens: 24,
        wantLogits: true,
        wantKvHashes: true,
        sampling: { temperature: 0.7, topK: 20, topP: 1, minP: 0, repeatPenalty: 1.1, seed: 11 },
      };
      const observed = await startCluster({ observer, sampleEvery: 1 });
      let seen: Awaited<ReturnType<typeof collect>>;
      try {
        seen = await collect(observed.coordinator.generate(request, never));
        await until(() => layers.length === 3 * steps.length, "all observations");
        const { observing } = observed.coordinator.status().coordinator;
        expect(observing).toMatchObject({ observations_refused: 0, observations_dropped: 0, observer_failures: 0 });
      } finally {
        await observed.close();
      }
      const plain = await startCluster({ hooks: false });
      try {
        const unseen = await collect(plain.coordinator.generate(request, never));
        expect(seen.tokens).toEqual(unseen.tokens);
        expect(seen.logits).toEqual(unseen.logits);
        expect(seen.done.kv).toEqual(unseen.done.kv);
      } finally {
        await plain.close();
      }
      expect(steps.every((step) => step.level === "layer" && step.receivedMonoNs !== null)).toBe(true);
      const timed = layers.filter((layer) => layer.segments.length > 0);
      // What was met for the first time was read and not timed; that is the smaller part.
      expect(timed.length).toBeGreaterThan(layers.length / 2);
      const unitsOf = (stage: number): readonly number[] =>
        [
          ...new Set(
            timed.filter((layer) => layer.stage === stage).flatMap((layer) => layer.segments.map((part) => part.unit)),
          ),
        ].toSorted((a, b) => a - b);
      expect([0, 1, 2].flatMap(unitsOf)).toEqual(UNITS);
      for (const layer of timed) {
        const sumNs = layer.segments.reduce((sum, part) => sum + part.durationNs, layer.hookNs);
        expect(Math.abs(sumNs - layer.stepNs)).toBeLessThanOrEqual(layer.stepNs * 0.03 + 1000);
        expect(layer.computeEndNodeNs - layer.computeStartNodeNs).toBeGreaterThanOrEqual(layer.stepNs * 0.9);
      }
    },
    START_TIMEOUT_MS,
  );
});

describe("noodle trace", () => {
  function readFiles(output: string): { chrome: ChromeTrace; request: ReturnType<typeof readRequestTrace> } {
    const chrome = JSON.parse(readFileSync(output, "utf8")) as ChromeTrace;
    return { chrome, request: readRequestTrace(readFileSync(output.replace(".json", ".request.json"), "utf8")) };
  }

  it(
    "traces a request through local workers into two files and a waterfall",
    async () => {
      const output = tempPath("local.json");
      const args = ["trace", STORYTELLER, "-p", "Once upon a time", "-n", "8", "--split", SPLIT, "--level", "role"];
      const { code, stdout, stderr } = await runNoodle([...args, "--threads", "1", "-o", output]);
      expect(stderr).not.toContain("Error");
      expect(code).toBe(0);
      expect(stdout).toMatch(/generation: 7 steps/);
      expect(stdout).toMatch(/elsewhere/);
      expect(stdout).toContain("ui.perfetto.dev");
      const { chrome, request } = readFiles(output);
      expect(findFlaws(chrome)).toEqual([]);
      const names = chrome.traceEvents.flatMap((event) =>
        event.name === "process_name" ? [String(event.args?.["name"])] : [],
      );
      expect(names.map((name) => name.replace(/worker-\d/, "worker"))).toEqual([
        "coordinator",
        "stage 0 · worker · units 0:5",
        "stage 1 · worker · units 5:9",
        "stage 2 · worker · units 9:14",
      ]);
      expect(request).toMatchObject({
        generated_tokens: 8,
        finish_reason: "length",
        steps_forgotten: 0,
        layers_forgotten: 0,
      });
      expect(countMissingLayers(request)).toBe(0);
      const segments = request.steps.flatMap((step) => step.layers.flatMap((layer) => layer.segments));
      expect([...new Set(segments.map((part) => part.unit))].toSorted((a, b) => a - b)).toEqual(UNITS);
      const groups: readonly string[] = ROLE_GROUPS;
      expect(segments.every((part) => groups.includes(part.role))).toBe(true);
      // One machine, one clock.
      for (const { clock_offset_ns, clock_uncertainty_ns } of request.stages) {
        expect(Math.abs(must(clock_offset_ns, "offset"))).toBeLessThanOrEqual(must(clock_uncertainty_ns, "doubt"));
      }
    },
    START_TIMEOUT_MS,
  );

  it(
    "traces a request through a running cluster, and writes one document with --json",
    async () => {
      const up = startNoodle([
        "up",
        STORYTELLER,
        "--workers",
        "2",
        "--port",
        "0",
        "--grpc-port",
        "0",
        "--threads",
        "1",
      ]);
      await up.said("ready: gRPC");
      const address = must(/ready: gRPC (\S+),/.exec(up.stdout())?.[1], "address");
      const output = tempPath("remote.json");
      const args = ["trace", "--coordinator", address, "-p", "Once upon a time", "-n", "5", "-o", output, "--json"];
      const { code, stdout } = await runNoodle(args);
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({
        schema: "noodle.trace_summary.v1",
        level: "layer",
        generated_tokens: 5,
        missing_observations: 0,
        steps_forgotten: 0,
        layers_forgotten: 0,
        decode: { steps: 4, stages: [{ stage: 0 }, { stage: 1 }] },
      });
      const { chrome, request } = readFiles(output);
      expect(findFlaws(chrome)).toEqual([]);
      expect(request.steps.every((step) => step.level === "layer")).toBe(true);
      up.child.kill("SIGINT");
      await up.finished;
    },
    START_TIMEOUT_MS,
  );

  it.each([
    ["a level that does not exist", ["trace", STORYTELLER, "-p", "x", "--level", "atoms"]],
    ["neither a model nor a cluster", ["trace", "-p", "x"]],
    [
      "a split of a cluster that runs already",
      ["trace", "--coordinator", "127.0.0.1:1", "-p", "x", "--split", "0:1,1:2"],
    ],
    ["a model and a cluster", ["trace", STORYTELLER, "--coordinator", "127.0.0.1:1", "-p", "x"]],
  ])("refuses %s", async (_what, args) => {
    const { code, stderr } = await runNoodle(args);
    expect(code).toBe(2);
    expect(stderr).toContain("USAGE");
  });
});
