import { expect, test } from "vitest";
import { type MetricDefinition, METRICS } from "./definitions.ts";
import { findSample, parseExposition } from "./testing.ts";
import type { WorkerSnapshot, WorkerTotals } from "../observe/index.ts";
import { WorkerMetrics } from "./worker-metrics.ts";

const BUILD = { noodlecoreVersion: "1", engineBuild: "b1" };

function makeTotals(steps: number): WorkerTotals {
  const phase = { steps, rows: steps * 2, computeNs: steps * 1e9, queueNs: steps * 1e8, serializeNs: steps * 1e7 };
  return { prefill: phase, decode: phase, bytesIn: steps * 10, bytesOut: steps * 20, failedSteps: 1 };
}

const SNAPSHOT: WorkerSnapshot = {
  nodeId: "node-0",
  registered: true,
  supervisorRssBytes: 100,
  hostRssBytes: 200,
  hostRestarts: 0,
  observationsDropped: 4,
  sessions: 2,
  stage: { epoch: 3, stage: 1, units: "3:6", ready: true, weightsBytes: 10, kvBytes: 20, computeBytes: 30 },
  totals: makeTotals(5),
};

test("a worker has every metric of its own, with type and help, from its first moment", async () => {
  const metrics = new WorkerMetrics(() => ({ ...SNAPSHOT, registered: false, stage: null, totals: null }), BUILD);
  const families = parseExposition(await metrics.render());
  const wanted = Object.entries<MetricDefinition>(METRICS).filter(([, { owners }]) => owners.includes("worker"));
  expect([...families.values()].map(({ name, type, help }) => `${name} ${type} ${help}`).sort()).toEqual(
    wanted.map(([name, { type, help }]) => `${name} ${type} ${help}`).sort(),
  );
  expect(findSample(families, "noodle_worker_registered")).toBe(0);
  expect(families.get("noodle_worker_stage_info")?.samples).toEqual([]);
});

test("a worker shows its stage, memory and totals in base units", async () => {
  const families = parseExposition(await new WorkerMetrics(() => SNAPSHOT, BUILD).render());
  const value = (name: string, labels: Readonly<Record<string, string>> = {}) => findSample(families, name, labels);
  expect(value("noodle_build_info", { version: "1", engine_build: "b1", role: "worker" })).toBe(1);
  expect(value("noodle_worker_registered")).toBe(1);
  expect(value("noodle_worker_stage_info", { stage: "1", units: "3:6" })).toBe(1);
  expect(value("noodle_worker_epoch")).toBe(3);
  expect(value("noodle_worker_kv_bytes")).toBe(20);
  expect(value("noodle_process_resident_memory_bytes", { node: "node-0", process: "supervisor" })).toBe(100);
  expect(value("noodle_process_resident_memory_bytes", { node: "node-0", process: "stage_host" })).toBe(200);
  expect(value("noodle_worker_steps_total", { phase: "decode" })).toBe(5);
  expect(value("noodle_worker_rows_total", { phase: "prefill" })).toBe(10);
  expect(value("noodle_worker_compute_seconds_total", { phase: "decode" })).toBe(5);
  expect(value("noodle_worker_queue_seconds_total", { phase: "decode" })).toBe(0.5);
  expect(value("noodle_worker_serialize_seconds_total", { phase: "decode" })).toBe(0.05);
  expect(value("noodle_worker_sent_bytes_total")).toBe(100);
  expect(value("noodle_worker_observations_dropped_total")).toBe(4);
});

test("totals go on where a new stage host begins again at zero", async () => {
  let snapshot = SNAPSHOT;
  const metrics = new WorkerMetrics(() => snapshot, BUILD);
  await metrics.render();
  snapshot = { ...SNAPSHOT, totals: makeTotals(7) };
  await metrics.render();
  snapshot = { ...SNAPSHOT, hostRestarts: 1, hostRssBytes: 0, totals: null };
  await metrics.render();
  snapshot = { ...SNAPSHOT, hostRestarts: 1, totals: makeTotals(2) };
  const families = parseExposition(await metrics.render());
  expect(findSample(families, "noodle_worker_steps_total", { phase: "decode" })).toBe(9);
  expect(findSample(families, "noodle_worker_host_restarts_total")).toBe(1);
});

test("another stage takes the place of the one before", async () => {
  let snapshot = SNAPSHOT;
  const metrics = new WorkerMetrics(() => snapshot, BUILD);
  await metrics.render();
  const stage = { epoch: 4, stage: 0, units: "0:6", ready: false, weightsBytes: 0, kvBytes: 0, computeBytes: 0 };
  snapshot = { ...SNAPSHOT, stage };
  const families = parseExposition(await metrics.render());
  expect(families.get("noodle_worker_stage_info")?.samples).toEqual([
    { name: "noodle_worker_stage_info", labels: { stage: "0", units: "0:6" }, value: 0 },
  ]);
});
