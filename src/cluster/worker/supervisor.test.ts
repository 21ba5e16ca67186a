import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { NoodleError, resolveEntry } from "../../common/index.ts";
import { createClient } from "../../net/index.ts";
import { PROTOCOL_VERSION, StageService, StageState, StreamRole } from "../../protocol/index.ts";
import { WorkerSupervisor } from "./supervisor.ts";
import type { WorkerOptions } from "./worker-options.ts";
import { createSession, EPOCH, makeFrame, makeRun, TestStream } from "./testing.ts";
import { FakeStageFiles, makeTemporaryDirectory, ScriptedCoordinator } from "./testing-coordinator.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startCoordinator(port = 0): Promise<ScriptedCoordinator> {
  const coordinator = await ScriptedCoordinator.start(port);
  cleanups.push(() => coordinator.close());
  return coordinator;
}

interface Setting extends Partial<WorkerOptions> {
  readonly faults?: object;
  readonly kvBytes?: number;
}

function makeWorker(address: string, setting: Setting = {}): WorkerSupervisor {
  const { faults, kvBytes, ...change } = setting;
  const directory = makeTemporaryDirectory();
  const worker = new WorkerSupervisor({
    join: address,
    name: "tester",
    dataDirectory: directory.path,
    threads: 1,
    engine: { kind: "fake" },
    noodlecoreVersion: "0.0.0",
    stageFiles: new FakeStageFiles(directory.path, faults, kvBytes),
    ...change,
  });
  cleanups.push(() => directory.remove());
  cleanups.push(() => worker.close("the test is over"));
  return worker;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function untilGone(pid: number): Promise<void> {
  while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe("WorkerSupervisor", () => {
  it("passes on what its engine saw inside a step that asked for it, and sums up what it has done", async () => {
    const coordinator = await startCoordinator();
    const worker = makeWorker(coordinator.address);
    await worker.start();
    expect(worker.snapshot()).toMatchObject({ registered: true, stage: null, hostRestarts: 0, observationsDropped: 0 });
    coordinator.assign({ epoch: BigInt(EPOCH), hooks: true });
    await coordinator.untilState(StageState.READY);
    const client = createClient(StageService, worker.stageAddress);
    cleanups.push(() => client.close());
    await createSession(client, 0);
    const steps = await TestStream.open(client);
    const results = await TestStream.open(client, StreamRole.RESULTS);
    steps.send(makeFrame(1, [makeRun(0, 0, 2)], [7, 8]));
    await results.next("result");
    steps.send({ ...makeFrame(2, [makeRun(0, 2, 1)], [9]), observe: "layer" });
    await results.next("result");
    const seen = await coordinator.until(() => coordinator.observations[0]);
    expect(seen).toMatchObject({ epoch: BigInt(EPOCH), stepId: 2n, stage: 0, level: 1, segmentUnit: [0, 1, 2, 3] });
    expect(seen.sentNs).toBeGreaterThan(seen.arrivalNs);
    const totals = await coordinator.until(() => {
      const now = worker.snapshot().totals;
      return now?.decode.steps === 1 ? now : undefined;
    });
    expect(totals).toMatchObject({ prefill: { steps: 1, rows: 2 }, decode: { rows: 1 }, bytesOut: 0, failedSteps: 0 });
    expect(worker.snapshot()).toMatchObject({
      nodeId: worker.nodeId,
      sessions: 1,
      stage: { epoch: EPOCH, stage: 0, units: "0:4", ready: true },
    });
    expect(coordinator.observations).toHaveLength(1);
    const beat = await coordinator.until(() => {
      const last = coordinator.lastHeartbeat;
      return last !== undefined && last.engineBusyNs > 0n ? last : undefined;
    });
    expect(beat.engineWallNs).toBeGreaterThan(beat.engineBusyNs);
    const share = await coordinator.until(() => worker.snapshot().engineBusyShare ?? undefined);
    expect(share).toBeGreaterThanOrEqual(0);
    expect(share).toBeLessThan(1);
  });

  it("registers with its capabilities, gets a stage, tests it and serves it", async () => {
    const coordinator = await startCoordinator();
    const worker = makeWorker(coordinator.address, { memoryLimitBytes: 2 ** 30 });
    await worker.start();
    const [register] = coordinator.registers;
    expect(register).toMatchObject({ stageAddress: worker.stageAddress, supervisorPid: process.pid });
    expect(register?.capabilities).toMatchObject({
      protocolVersion: PROTOCOL_VERSION,
      nodeId: worker.nodeId,
      name: "tester",
      engineBuild: "fake",
      cpuVariant: "fake",
      memoryLimitBytes: 2n ** 30n,
      threads: 1,
    });
    expect(Number(register?.capabilities?.diskFreeBytes)).toBeGreaterThan(0);
    coordinator.assign();
    const ready = await coordinator.untilState(StageState.READY);
    expect(ready.canarySha256).toMatch(/^[0-9a-f]{64}$/);
    expect([ready.weightsBytesReceived, isAlive(ready.hostPid)]).toEqual([0n, true]);
    expect(coordinator.reports.map(({ state }) => state)).toEqual([
      StageState.FETCHING,
      StageState.LOADING,
      StageState.READY,
    ]);
    const client = createClient(StageService, worker.stageAddress);
    cleanups.push(() => client.close());
    const { capabilities } = await client.rpc.reportCapabilities({}, { timeoutMs: 2000 });
    expect(capabilities?.nodeId).toBe(worker.nodeId);
    await coordinator.until(() => (coordinator.heartbeats > 1 ? true : undefined));
    await worker.close("enough");
    expect(coordinator.leaving).toEqual(["enough"]);
    expect(isAlive(ready.hostPid)).toBe(false);
    expect(await worker.closed).toBeUndefined();
  });

  it("restarts a killed host on the same address with the same stage", async () => {
    const coordinator = await startCoordinator();
    const worker = makeWorker(coordinator.address);
    await worker.start();
    coordinator.assign();
    const before = await coordinator.untilState(StageState.READY);
    const seen = coordinator.reports.length;
    process.kill(before.hostPid, "SIGKILL");
    const restarting = await coordinator.untilState(StageState.RESTARTING, seen);
    expect(restarting.error?.code).toBe("ENGINE_ABORTED");
    expect(JSON.parse(restarting.error?.detailsJson ?? "{}")).toMatchObject({ signal: "SIGKILL" });
    const after = await coordinator.untilState(StageState.READY, seen);
    expect(after.hostPid).not.toBe(before.hostPid);
    expect(after.canarySha256).toBe(before.canarySha256);
    const client = createClient(StageService, worker.stageAddress);
    cleanups.push(() => client.close());
    const { epoch } = await client.rpc.ping({}, { timeoutMs: 2000 });
    expect(epoch).toBe(1n);
  });

  it("survives an abort inside the engine and reports its signal", async () => {
    const coordinator = await startCoordinator();
    const worker = makeWorker(coordinator.address, { faults: { abortOnToken: 13 } });
    await worker.start();
    coordinator.assign({ epoch: BigInt(EPOCH) });
    await coordinator.untilState(StageState.READY);
    const seen = coordinator.reports.length;
    const client = createClient(StageService, worker.stageAddress);
    cleanups.push(() => client.close());
    await createSession(client, 0);
    const steps = await TestStream.open(client);
    steps.send(makeFrame(1, [makeRun(0, 0, 1)], [13]));
    await expect(steps.next("ack")).rejects.toMatchObject({ code: "PEER_DEAD" });
    const restarting = await coordinator.untilState(StageState.RESTARTING, seen);
    expect(JSON.parse(restarting.error?.detailsJson ?? "{}")).toMatchObject({ signal: "SIGABRT" });
    await coordinator.untilState(StageState.READY, seen);
  });

  it("refuses a stage that its memory limit does not hold, and takes the next one", async () => {
    const coordinator = await startCoordinator();
    const worker = makeWorker(coordinator.address, { memoryLimitBytes: 2 ** 30, kvBytes: 2 ** 30 });
    await worker.start();
    coordinator.assign();
    const failed = await coordinator.untilState(StageState.FAILED);
    expect(failed.error?.code).toBe("MEMORY_INSUFFICIENT");
    expect(JSON.parse(failed.error?.detailsJson ?? "{}")).toMatchObject({ haveBytes: 2 ** 30, kvBytes: 2 ** 30 });
    const seen = coordinator.reports.length;
    coordinator.assign({ epoch: 2n });
    expect((await coordinator.untilState(StageState.FAILED, seen)).epoch).toBe(2n);
  });

  it("reports a stage that fails its self-test", async () => {
    const coordinator = await startCoordinator();
    const worker = makeWorker(coordinator.address, { faults: { canaryNonFinite: true } });
    await worker.start();
    coordinator.assign();
    expect((await coordinator.untilState(StageState.FAILED)).error?.code).toBe("NON_FINITE");
  });

  it("changes to the stage of a newer epoch", async () => {
    const coordinator = await startCoordinator();
    const worker = makeWorker(coordinator.address);
    await worker.start();
    coordinator.assign();
    coordinator.assign({ epoch: 2n, firstUnit: 1, endUnit: 3 });
    const ready = await coordinator.until(() =>
      coordinator.reports.find(({ epoch, state }) => epoch === 2n && state === StageState.READY),
    );
    coordinator.tell({ case: "retire", value: { epoch: 2n } });
    coordinator.assign({ epoch: 3n, firstUnit: 1, endUnit: 3 });
    const again = await coordinator.until(() =>
      coordinator.reports.find(({ epoch, state }) => epoch === 3n && state === StageState.READY),
    );
    expect([again.canarySha256, again.hostPid]).toEqual([ready.canarySha256, ready.hostPid]);
  });

  it("ends when it is refused, with the coordinator's reason", async () => {
    const coordinator = await startCoordinator();
    coordinator.refusal = new NoodleError("PROTOCOL_MISMATCH", "another release");
    const worker = makeWorker(coordinator.address);
    await expect(worker.start()).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
    expect((await worker.closed)?.code).toBe("PROTOCOL_MISMATCH");
  });

  it("says so when no coordinator is there", async () => {
    const worker = makeWorker("127.0.0.1:1", { joinTimeoutMs: 300 });
    await expect(worker.start()).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
  });

  it("can be stopped while it starts, and leaves nothing running", async () => {
    const worker = makeWorker("127.0.0.1:1");
    const started = worker.start();
    started.catch(() => undefined);
    await worker.close("changed my mind");
    await expect(started).rejects.toMatchObject({ code: "INTERRUPTED" });
    expect(await worker.closed).toBeUndefined();
  });

  it("says so when its port is taken", async () => {
    const coordinator = await startCoordinator();
    const port = Number(coordinator.address.split(":")[1]);
    await expect(makeWorker(coordinator.address, { listenPort: port }).start()).rejects.toMatchObject({
      code: "PORT_IN_USE",
    });
  });

  it("comes back to a coordinator that was away and repeats the state of its stage", async () => {
    const first = await startCoordinator();
    const worker = makeWorker(first.address);
    await worker.start();
    first.assign();
    const ready = await first.untilState(StageState.READY);
    await first.close();
    const second = await startCoordinator(Number(first.address.split(":")[1]));
    const repeated = await second.untilState(StageState.READY);
    expect(repeated.canarySha256).toBe(ready.canarySha256);
    expect(second.registers[0]?.incarnation).toEqual(first.registers[0]?.incarnation);
  });

  it("ends with its coordinator when it was told to", async () => {
    const coordinator = await startCoordinator();
    const worker = makeWorker(coordinator.address, { exitWithCoordinator: true });
    await worker.start();
    await coordinator.close();
    expect((await worker.closed)?.code).toBe("PEER_DEAD");
  });

  it("ends on the coordinator's word", async () => {
    const coordinator = await startCoordinator();
    const worker = makeWorker(coordinator.address);
    await worker.start();
    coordinator.tell({ case: "shutdown", value: { reason: "done" } });
    expect(await worker.closed).toBeUndefined();
  });

  it("takes its host with it when it is killed", async () => {
    const coordinator = await startCoordinator();
    const directory = makeTemporaryDirectory();
    cleanups.push(() => directory.remove());
    const options = {
      join: coordinator.address,
      dataDirectory: directory.path,
      threads: 1,
      engine: { kind: "fake" },
      noodlecoreVersion: "0.0.0",
    };
    const script = `
      const { WorkerSupervisor } = await import(${JSON.stringify(resolveEntry(import.meta.url, "./index"))});
      const { writeFileSync } = await import("node:fs");
      const path = ${JSON.stringify(`${directory.path}/stage.json`)};
      const stageFiles = { prepare: async ({ units }) => {
        const faults = { computeMs: 60000 };
        writeFileSync(path, JSON.stringify({ units, layers: 2, nEmbd: 4, nVocab: 50, faults }));
        return { path, weightsBytes: 1, receivedBytes: 0 };
      } };
      await new WorkerSupervisor({ ...${JSON.stringify(options)}, stageFiles }).start();`;
    const supervisor = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit" });
    cleanups.push(() => supervisor.kill("SIGKILL"));
    await coordinator.until(() => coordinator.registers[0]);
    coordinator.assign({ epoch: BigInt(EPOCH) });
    const { hostPid } = await coordinator.untilState(StageState.READY);
    // The engine thread is deep in a computation when the supervisor dies.
    const client = createClient(StageService, coordinator.registers[0]?.stageAddress ?? "");
    cleanups.push(() => client.close());
    await createSession(client, 0);
    (await TestStream.open(client)).send(makeFrame(1, [makeRun(0, 0, 1)], [1]));
    supervisor.kill("SIGKILL");
    await once(supervisor, "exit");
    await untilGone(hostPid);
    expect(isAlive(hostPid)).toBe(false);
  });
});
