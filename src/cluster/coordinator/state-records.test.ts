import { expect, it } from "vitest";
import { apply, type ClusterEvent, type ClusterState, createState, decide, type StagePhase } from "../state/index.ts";
import { describeChanges } from "./state-records.ts";

function register(nodeId: string, incarnation = "1"): ClusterEvent {
  return {
    type: "registered",
    nowMs: 0,
    registration: {
      nodeId,
      name: `name-${nodeId}`,
      address: "h:1",
      pid: 1,
      incarnation,
      capabilities: {
        protocolVersion: 1,
        noodlecoreVersion: "0",
        engineBuild: "b",
        cpuVariant: "v",
        cpuModel: "",
        cpuFeatures: [],
        cores: 1,
        threads: 1,
        memoryTotalBytes: 1,
        memoryFreeBytes: 1,
        memoryLimitBytes: 1,
        diskFreeBytes: 1,
        dataDirectory: "",
        platform: "",
        devices: [],
      },
    },
  };
}

function report(nodeId: string, epoch: number, phase: StagePhase): ClusterEvent {
  const failed = phase === "failed" || phase === "restarting";
  return {
    type: "stageReported",
    nodeId,
    incarnation: "1",
    nowMs: 0,
    stage: {
      epoch,
      phase,
      bytesDone: 0,
      bytesTotal: 0,
      weightsBytes: 10,
      weightsBytesReceived: 3,
      kvBytes: 20,
      computeBytes: 30,
      canarySha256: "",
      hostPid: 1,
      rowClassesJson: "",
      error: failed ? { code: "ENGINE_ABORTED", message: "it died", nodeId } : null,
    },
  };
}

/** Applies events, and the plans that follow from them, as the control loop does. */
function advance(state: ClusterState, ...events: readonly ClusterEvent[]): ClusterState {
  let next = state;
  for (const event of events) {
    next = apply(next, event);
    for (const action of decide(next, 0)) {
      if (action.type === "assign") next = apply(next, { type: "planned", plan: action.plan });
    }
  }
  return next;
}

const EMPTY = createState({
  split: [
    { first: 0, end: 3 },
    { first: 3, end: 6 },
  ],
  leaseMs: 3000,
  protocolVersion: 1,
  firstEpoch: 100,
  engineBuild: null,
  parallel: 1,
  threads: 0,
  cpuVariant: "",
});

it("tells who joined and which plan follows from it", () => {
  const joined = advance(EMPTY, register("a"));
  const records = describeChanges(EMPTY, joined);
  expect(records.events).toMatchObject([{ name: "worker.joined", severity: "info", nodeId: "a" }]);
  expect(records.nodes).toMatchObject([{ nodeId: "a", name: "name-a", units: null, state: "joining" }]);
  expect(records.plan).toBeNull();
  const planned = describeChanges(joined, advance(joined, register("b")));
  expect(planned.plan).toEqual({
    epoch: 101,
    split: "0:3,3:6",
    stages: [
      { stage: 0, nodeId: "a", units: "0:3" },
      { stage: 1, nodeId: "b", units: "3:6" },
    ],
    reason: "2 workers are there",
  });
  expect(planned.nodes.map((node) => [node.nodeId, node.state, node.units])).toEqual([
    ["a", "loading", "0:3"],
    ["b", "loading", "3:6"],
  ]);
});

it("tells each phase of a stage once, and nothing of a heartbeat", () => {
  const planned = advance(EMPTY, register("a"), register("b"));
  const loading = advance(planned, report("a", 101, "loading"));
  expect(describeChanges(planned, loading).events).toMatchObject([{ name: "stage.loading" }]);
  const ready = advance(loading, report("a", 101, "ready"));
  expect(describeChanges(loading, ready)).toMatchObject({
    events: [{ name: "stage.ready", nodeId: "a", details: { epoch: 101, weightsBytesReceived: 3 } }],
    nodes: [{ nodeId: "a", state: "ready", weightsBytes: 10, kvBytes: 20, computeBytes: 30 }],
  });
  const beat: ClusterEvent = {
    type: "heartbeat",
    nodeId: "a",
    incarnation: "1",
    rssBytes: 5,
    sessions: 1,
    nowMs: 1,
  };
  expect(describeChanges(ready, advance(ready, beat))).toEqual({ events: [], nodes: [], plan: null });
  expect(describeChanges(ready, ready)).toEqual({ events: [], nodes: [], plan: null });
});

it("tells what broke a plan, and gives it as the reason of the next one, also where both come at once", () => {
  const fault = { code: "PEER_DEAD", message: "worker b went", nodeId: "b" } as const;
  const ready = advance(
    EMPTY,
    ...["a", "b", "c"].map((id) => register(id)),
    report("a", 101, "ready"),
    report("b", 101, "ready"),
  );
  const after = advance(ready, { type: "lost", nodeId: "b", incarnation: "1", fault });
  const records = describeChanges(ready, after);
  expect(records.events.map((event) => event.name)).toContain("worker.lost");
  expect(records.plan).toMatchObject({ epoch: 102, reason: "worker b went", stages: [{}, { nodeId: "c" }] });
  const restarting = advance(ready, report("b", 101, "restarting"));
  expect(describeChanges(ready, restarting).events).toMatchObject([
    { name: "stage.restarting", severity: "error", details: { code: "ENGINE_ABORTED" } },
    { name: "plan.broken", severity: "error", nodeId: "b", details: { code: "ENGINE_ABORTED", epoch: 101 } },
  ]);
  const again = advance(restarting, report("b", 101, "ready"));
  expect(describeChanges(restarting, again).plan).toMatchObject({ epoch: 102, reason: "it died" });
});

it("tells a stage that failed, a worker that leaves, and one that came back as another start of it", () => {
  const planned = advance(EMPTY, register("a"), register("b"));
  const failed = advance(planned, report("b", 101, "failed"));
  expect(describeChanges(planned, failed).events).toMatchObject([
    { name: "stage.failed", nodeId: "b", details: { code: "ENGINE_ABORTED" } },
    { name: "plan.broken" },
  ]);
  const leaving = advance(planned, { type: "leaving", nodeId: "a", incarnation: "1" });
  expect(describeChanges(planned, leaving).events).toMatchObject([{ name: "worker.draining", severity: "warning" }]);
  const back = advance(planned, register("a", "2"));
  expect(describeChanges(planned, back).events.map((event) => event.name)).toContain("worker.joined");
});
