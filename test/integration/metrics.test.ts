import { afterEach, expect, it } from "vitest";
import { collectHost } from "../../src/cli/host.ts";
import { HttpServer } from "../../src/cli/http-server.ts";
import { routeMetrics } from "../../src/cli/metrics-server.ts";
import { runCli } from "../../src/cli/program.ts";
import { combineObservers } from "../../src/cluster/coordinator/index.ts";
import { CoordinatorMetrics, LiveStats, type MetricDefinition, METRICS } from "../../src/metrics/index.ts";
import { findSample, parseExposition } from "../../src/metrics/testing.ts";
import { collect, FakeCluster } from "./fake-cluster.ts";

const never = new AbortController().signal;
const PROMPT = "the quick brown fox jumps over the lazy dog";
const MAX_TOKENS = 12;

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startObserved(workers: number) {
  const metrics = new CoordinatorMetrics({
    build: { noodlecoreVersion: "1.2.3", engineBuild: "fake" },
    model: "fake-model",
    predict: () => 1,
  });
  const live = new LiveStats();
  const cluster = await FakeCluster.start({
    expect: workers,
    observer: combineObservers(metrics, live),
    readLive: () => live.snapshot(),
    sampleEvery: 2,
  });
  closers.push(() => cluster.close());
  const http = await HttpServer.start("127.0.0.1", 0, "--port");
  closers.push(() => http.close());
  http.route("/v1/status", () => ({ status: 200, body: cluster.coordinator.status() }));
  routeMetrics(http, metrics);
  metrics.show(() => cluster.coordinator.status());
  await cluster.addWorkers(workers);
  await cluster.ready();
  return { cluster, http };
}

async function scrape(http: HttpServer) {
  const response = await fetch(`http://${http.address}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const families = parseExposition(await response.text());
  return {
    families,
    value: (name: string, labels: Readonly<Record<string, string>> = {}) => findSample(families, name, labels),
  };
}

it("a scrape of a served cluster is valid, complete, and counts what was done", async () => {
  const { cluster, http } = await startObserved(3);
  const { tokens, done } = await collect(
    cluster.coordinator.generate({ prompt: PROMPT, maxTokens: MAX_TOKENS, ignoreEos: true }, never),
  );
  expect(tokens).toHaveLength(MAX_TOKENS);
  // Layer timings come on a stream of their own, later than the tokens.
  await expect
    .poll(async () => (await scrape(http)).families.get("noodle_layer_seconds")?.samples.length)
    .toBeGreaterThan(0);
  const { families, value } = await scrape(http);
  const wanted = Object.entries<MetricDefinition>(METRICS).filter(([, { owners }]) => owners.includes("coordinator"));
  expect([...families.values()].map(({ name, type, help }) => `${name} ${type} ${help}`).sort()).toEqual(
    wanted.map(([name, { type, help }]) => `${name} ${type} ${help}`).sort(),
  );
  const prompt = Buffer.byteLength(PROMPT);
  expect(value("noodle_request_success_total", { finished_reason: done.finishReason })).toBe(1);
  expect(value("noodle_prompt_tokens_total")).toBe(prompt);
  expect(value("noodle_generation_tokens_total")).toBe(MAX_TOKENS);
  expect(value("noodle_request_generation_tokens_sum")).toBe(MAX_TOKENS);
  expect(value("noodle_inter_token_latency_seconds_count")).toBe(MAX_TOKENS - 1);
  expect(value("noodle_time_to_first_token_seconds_count")).toBe(1);
  expect(value("noodle_steps_total", { phase: "prefill" })).toBe(Math.ceil(prompt / 8));
  expect(value("noodle_steps_total", { phase: "decode" })).toBe(MAX_TOKENS - 1);
  for (const stage of ["0", "1", "2"]) {
    expect(value("noodle_stage_compute_seconds_count", { stage, phase: "decode" })).toBe(MAX_TOKENS - 1);
    expect(value("noodle_stage_compute_seconds_sum", { stage, phase: "decode" })).toBeGreaterThan(0);
    expect(value("noodle_drift_ratio", { stage, phase: "decode" })).toBeGreaterThan(0);
  }
  expect(value("noodle_node_up", { node: "w1", name: "name-w1" })).toBe(1);
  expect(value("noodle_stage_info", { stage: "1", node: "w1", units: "2:4" })).toBe(1);
  expect(value("noodle_num_requests_running")).toBe(0);
  expect(value("noodle_kv_cache_capacity_tokens")).toBe(128 * 4);
  expect(value("noodle_metrics_series_dropped_total")).toBe(0);
});

it("top shows the stages of a served cluster, over HTTP and over gRPC", async () => {
  const { cluster, http } = await startObserved(2);
  await collect(cluster.coordinator.generate({ prompt: PROMPT, maxTokens: MAX_TOKENS, ignoreEos: true }, never));
  for (const source of [
    ["--url", `http://${http.address}`],
    ["--coordinator", cluster.coordinator.address],
  ]) {
    const host = collectHost();
    expect(await runCli(["top", "--once", "--json", ...source], host)).toBe(0);
    expect(JSON.parse(host.written.stdout)).toMatchObject({
      schema: "noodle.top.v1",
      phase: "decode",
      live: {
        requests: { running: 0, waiting: 0, finished: 1, failed: 0 },
        ttft_ms: { n: 1 },
        itl_ms: { n: MAX_TOKENS - 1 },
      },
      stages: [
        { stage: 0, units: "0:3", node_name: "name-w0", times: { compute_ms: { n: MAX_TOKENS - 1 } } },
        { stage: 1, units: "3:6", node_name: "name-w1", times: { hop_ms: { n: expect.any(Number) as number } } },
      ],
      bottleneck: { phase: "decode" },
    });
    const frame = collectHost();
    expect(await runCli(["top", "--once", ...source], frame)).toBe(0);
    expect(frame.written.stdout).toContain("bottleneck: ");
  }
});
