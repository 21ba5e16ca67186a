import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { apply, createState } from "./apply.ts";
import { formatUnits } from "./check-plan.ts";
import { decide, judgeHealth, judgeRegistration } from "./decide.ts";
import type { ClusterConfig, ClusterState, Fault, Registration, StagePhase, StageStatus } from "./types.ts";

const CONFIG: ClusterConfig = {
  split: [
    { first: 0, end: 3 },
    { first: 3, end: 6 },
  ],
  leaseMs: 3000,
  protocolVersion: 1,
  firstEpoch: 1000,
  engineBuild: null,
  parallel: 3,
  threads: 0,
  cpuVariant: "",
};

function registration(id: string, incarnation = "1", build = "b1"): Registration {
  return {
    nodeId: id,
    name: id,
    address: `127.0.0.1:${9000 + id.charCodeAt(0)}`,
    pid: 1,
    incarnation,
    capabilities: {
      protocolVersion: 1,
      noodlecoreVersion: "0",
      engineBuild: build,
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
  };
}

function status(epoch: number, phase: StagePhase, canarySha256 = "", hostPid = 7): StageStatus {
  return {
    epoch,
    phase,
    bytesDone: 0,
    bytesTotal: 0,
    weightsBytes: 1,
    weightsBytesReceived: 0,
    kvBytes: 0,
    computeBytes: 0,
    canarySha256,
    hostPid,
    rowClassesJson: "",
    error: null,
  };
}

function join(state: ClusterState, id: string, incarnation = "1", nowMs = 0): ClusterState {
  return apply(state, { type: "registered", registration: registration(id, incarnation), nowMs });
}

function report(state: ClusterState, id: string, stage: StageStatus, incarnation = "1", nowMs = 0): ClusterState {
  return apply(state, { type: "stageReported", nodeId: id, incarnation, stage, nowMs });
}

function lose(state: ClusterState, id: string, incarnation = "1"): ClusterState {
  const fault: Fault = { code: "PEER_DEAD", message: "gone", nodeId: id };
  return apply(state, { type: "lost", nodeId: id, incarnation, fault });
}

/** Carries out what `decide` asks until it asks for nothing that changes the state. */
function settle(state: ClusterState, nowMs = 0): ClusterState {
  for (const action of decide(state, nowMs)) {
    if (action.type === "assign") state = apply(state, { type: "planned", plan: action.plan });
    if (action.type === "expire") state = apply(state, { ...action, type: "lost" });
    if (action.type === "endSession") state = apply(state, { type: "sessionClosed", sessionId: action.sessionId });
  }
  return state;
}

function readyCluster(): ClusterState {
  let state = settle(join(join(createState(CONFIG), "a"), "b"));
  const epoch = state.plan?.epoch ?? 0;
  state = report(state, "a", status(epoch, "ready", "ca"));
  return report(state, "b", status(epoch, "ready", "cb"));
}

const holders = (state: ClusterState) => state.plan?.stages.map((stage) => stage.nodeId);
const phaseOf = (state: ClusterState, id: string) => state.nodes.get(id)?.phase;

describe("planning", () => {
  it("waits for as many workers as the split has stages, then assigns in join order", () => {
    const one = join(createState(CONFIG), "b");
    expect(decide(one, 0)).toEqual([]);
    const two = settle(join(one, "a"));
    expect(holders(two)).toEqual(["b", "a"]);
    expect(two.plan?.epoch).toBe(1001);
    expect(decide(two, 0)).toEqual([]);
  });

  it("gives a worker the stage that it held at the last start, whatever the order of arrival", () => {
    const formerHolders = new Map([
      ["0:3", "b"],
      ["3:6", "gone"],
    ]);
    const state = settle(join(join(createState({ ...CONFIG, formerHolders }), "a"), "b"));
    expect(holders(state)).toEqual(["b", "a"]);
  });

  it("keeps a worker too many as standby and lets it replace a lost one under a new epoch", () => {
    let state = settle(join(readyCluster(), "c"));
    expect(state.plan?.epoch).toBe(1001);
    expect(phaseOf(state, "c")).toBe("standby");
    state = settle(lose(state, "a"));
    expect(holders(state)).toEqual(["c", "b"]);
    expect(state.plan?.epoch).toBe(1002);
    expect(judgeHealth(state).status).toBe("waiting");
  });

  it("shows as standby a worker that was there when a plan was made without it", () => {
    let state = join(join(join(createState(CONFIG), "a"), "b"), "c");
    state = settle(state);
    expect(phaseOf(state, "c")).toBe("standby");
  });

  it("gives a worker that came back its stage again under a new epoch", () => {
    let state = lose(readyCluster(), "b");
    expect(holders(state)).toEqual(["a", null]);
    expect(decide(state, 0)).toEqual([]);
    state = settle(join(state, "b", "2"));
    expect(holders(state)).toEqual(["a", "b"]);
    expect(state.plan?.epoch).toBe(1002);
  });

  it("makes a new epoch when an engine died and is ready again, and not before", () => {
    let state = report(readyCluster(), "a", status(1001, "restarting"));
    expect(state.broken?.code).toBe("ENGINE_ABORTED");
    expect(decide(state, 0)).toEqual([]);
    state = settle(report(state, "a", status(1001, "ready", "ca", 8)));
    expect(state.plan?.epoch).toBe(1002);
    expect(state.broken).toBeNull();
  });

  it("notices a stage host that was replaced without a word", () => {
    const state = report(readyCluster(), "a", status(1001, "ready", "ca", 8));
    expect(state.broken?.nodeId).toBe("a");
    expect(settle(state).plan?.epoch).toBe(1002);
  });

  it("makes a new epoch for a broken stream between ready stages", () => {
    const fault: Fault = { code: "PEER_DEAD", message: "stream lost", nodeId: "a" };
    const stale = apply(readyCluster(), { type: "pipelineBroken", epoch: 1000, fault });
    expect(decide(stale, 0)).toEqual([]);
    const state = settle(apply(stale, { type: "pipelineBroken", epoch: 1001, fault }));
    expect(state.plan?.epoch).toBe(1002);
    expect(holders(state)).toEqual(["a", "b"]);
  });

  it("does not plan around a worker that is about to leave", () => {
    let state = apply(readyCluster(), { type: "leaving", nodeId: "a", incarnation: "1" });
    state = join(lose(state, "b"), "c");
    expect(decide(state, 0)).toEqual([]);
    state = settle(join(lose(state, "a"), "d"));
    expect(holders(state)).toEqual(["c", "d"]);
  });

  it("refuses a plan whose epoch does not grow", () => {
    const state = readyCluster();
    const plan = { epoch: 1001, stages: state.plan?.stages ?? [] };
    expect(() => apply(state, { type: "planned", plan })).toThrow(NoodleError);
  });
});

describe("faults", () => {
  it("expires a worker after its lease and not before", () => {
    const state = readyCluster();
    expect(decide(state, 2999)).toEqual([]);
    const actions = decide(state, 3000);
    expect(actions.map((action) => action.type)).toEqual(["expire", "expire"]);
    expect(phaseOf(settle(state, 3000), "a")).toBe("lost");
  });

  it("does not hold its own delay against the workers", () => {
    const state = apply(readyCluster(), { type: "lagged", lagMs: 5000 });
    expect(decide(state, 7000)).toEqual([]);
    expect(decide(state, 8000)).toHaveLength(2);
  });

  it("ignores a former start of a worker", () => {
    const state = join(lose(readyCluster(), "b"), "b", "2");
    expect(report(state, "b", status(1001, "ready"), "1")).toBe(state);
    expect(lose(state, "b", "1")).toBe(state);
  });

  it("takes a stage from a worker that failed it, and reports the failure when no other can take it", () => {
    const error: Fault = { code: "MEMORY_INSUFFICIENT", message: "no room", nodeId: "a" };
    let state = settle(join(join(createState(CONFIG), "a"), "b"));
    state = report(state, "a", { ...status(1001, "failed"), error });
    expect(settle(state).plan?.epoch).toBe(1001);
    const health = judgeHealth(state);
    expect(health.status === "failed" && health.fault.code).toBe("MEMORY_INSUFFICIENT");
    state = settle(join(state, "c"));
    expect(holders(state)).toEqual(["c", "b"]);
  });

  it("does not blame a former failure when another stage is without holder", () => {
    let state = settle(join(join(createState(CONFIG), "a"), "b"));
    state = settle(join(report(state, "a", status(1001, "failed")), "c"));
    expect(judgeHealth(lose(state, "b"))).toMatchObject({ status: "waiting", fault: { nodeId: "b" } });
  });

  it("refuses a holder whose self-test differs from an earlier holder's", () => {
    let state = settle(join(lose(readyCluster(), "b"), "c"));
    state = report(state, "c", status(1002, "ready", "other"));
    const health = judgeHealth(state);
    expect(health.status === "failed" && health.fault.code).toBe("CANARY_MISMATCH");
  });

  it("ends sessions of a broken plan with its cause", () => {
    const state = apply(readyCluster(), { type: "sessionOpened", session: { id: "s", slot: 0, epoch: 1001 } });
    expect(decide(state, 0)).toEqual([]);
    const actions = decide(lose(state, "a"), 0);
    expect(actions).toMatchObject([{ type: "endSession", sessionId: "s", fault: { code: "PEER_DEAD", nodeId: "a" } }]);
  });
});

describe("too few workers", () => {
  const spread = { unitBytes: [0.1, 0.1, 0.1, 0.1, 0.1, 0.1], cuts: [1, 2, 3, 4, 5] };
  const thirds = [0, 2, 4].map((first) => ({ first, end: first + 2 }));
  const layout = (state: ClusterState): string[] | undefined =>
    state.plan?.stages.map(({ units, nodeId }) => `${formatUnits(units)}@${nodeId}`);

  function cluster(change: Partial<ClusterConfig> = {}): ClusterState {
    let state = createState({ ...CONFIG, split: thirds, spread, ...change });
    for (const id of ["a", "b"]) state = settle(join(state, id));
    // Nothing is given out before all are there that the cluster starts with.
    expect(state.plan).toBeNull();
    return makeReady(settle(join(state, "c")));
  }

  function makeReady(state: ClusterState): ClusterState {
    const epoch = state.plan?.epoch ?? 0;
    for (const { nodeId } of state.plan?.stages ?? []) {
      if (nodeId !== null) state = report(state, nodeId, status(epoch, "ready", `c${nodeId}${epoch}`));
    }
    return state;
  }

  it("gives a lost worker's units to those beside it, and back when it is there again", () => {
    let state = makeReady(settle(lose(cluster(), "b")));
    expect(layout(state)).toEqual(["0:3@a", "3:6@c"]);
    expect(state.lastFault?.nodeId).toBe("b");
    state = join(state, "b", "2", 100);
    // It was lost once: it rests before it is trusted again.
    expect(decide(state, 200)).toEqual([]);
    const actions = decide(state, 1200);
    expect(actions).toMatchObject([{ type: "replan", plan: { epoch: 1003 } }]);
    const [action] = actions;
    if (action?.type !== "replan") throw new Error("no plan");
    state = apply(state, { type: "replanned", plan: action.plan, mode: "beside" });
    expect(state.next?.plan.stages.map(({ nodeId }) => nodeId)).toEqual(["a", "b", "c"]);
    expect(state.next?.plan.wanted).toBeUndefined();
    // A layout that was refused is not tried again before another worker comes.
    const fault: Fault = { code: "STAGE_CORRUPT", message: "no", nodeId: "b" };
    state = apply(state, { type: "replanFailed", epoch: 1003, fault });
    expect(decide(state, 1300)).toEqual([]);
    expect(decide(join(state, "d", "1", 1300), 1400)).toMatchObject([{ type: "replan" }]);
  });

  it("leaves a worker as it is whose units need not change, where the first or the last is lost", () => {
    expect(layout(settle(lose(cluster(), "a")))).toEqual(["0:4@b", "4:6@c"]);
    expect(layout(settle(lose(cluster(), "c")))).toEqual(["0:2@a", "2:6@b"]);
    expect(layout(settle(lose(settle(lose(cluster(), "c")), "a")))).toEqual(["0:6@b"]);
  });

  it("waits where the units have no room, and goes by what a worker could not load", () => {
    const heavy = { ...spread, unitBytes: spread.unitBytes.map(() => 0.4) };
    const full = cluster({ spread: heavy });
    expect(decide(lose(full, "b"), 0)).toEqual([]);
    let state = settle(lose(cluster(), "a"));
    expect(layout(state)).toEqual(["0:4@b", "4:6@c"]);
    const refusal: Fault = { code: "MEMORY_INSUFFICIENT", message: "no room", nodeId: "b" };
    state = settle(report(state, "b", { ...status(1002, "failed"), error: refusal }));
    expect(layout(state)).not.toContain("0:4@b");
    expect(state.plan?.stages.every(({ nodeId }) => nodeId !== null)).toBe(true);
  });

  it("plans without a worker that leaves, unless nobody has room for its units", () => {
    let state = apply(cluster(), { type: "leaving", nodeId: "b", incarnation: "1" });
    expect(decide(state, 0)).toMatchObject([{ type: "replan", plan: { reason: expect.stringContaining("b") } }]);
    state = apply(cluster({ spread: { ...spread, cuts: [2, 4], unitBytes: spread.unitBytes.map(() => 0.3) } }), {
      type: "leaving",
      nodeId: "b",
      incarnation: "1",
    });
    expect(decide(state, 0)).toEqual([]);
  });
});

describe("sessions whose stages are gone", () => {
  const open = (state: ClusterState): ClusterState =>
    apply(state, { type: "sessionOpened", session: { id: "s", slot: 0, epoch: 1001 } });
  const waiting = (recoveryWaitMs: number): ClusterState => {
    const state = lose(open(readyCluster()), "a");
    return { ...state, config: { ...state.config, recoveryWaitMs } };
  };

  it("wait for others as long as they may, and end with the cause behind that", () => {
    const actions = decide(waiting(1000), 50);
    expect(actions).toMatchObject([{ type: "strand", sessionId: "s", fault: { code: "PEER_DEAD" } }]);
    const [action] = actions;
    if (action?.type !== "strand") throw new Error("not stranded");
    let state = apply(waiting(1000), { ...action, type: "sessionStranded", nowMs: 50 });
    expect(apply(state, { ...action, type: "sessionStranded", nowMs: 900 })).toEqual(state);
    expect(decide(state, 1049)).toEqual([]);
    expect(decide(state, 1050)).toMatchObject([{ type: "endSession", fault: { code: "PEER_DEAD", nodeId: "a" } }]);
    state = apply(settle(join(state, "c")), { type: "sessionMoved", sessionId: "s", epoch: 1002 });
    expect(decide(state, 5000).filter(({ type }) => type === "endSession")).toEqual([]);
  });

  it("end at once where they may not wait", () => {
    expect(decide(waiting(0), 0)).toMatchObject([{ type: "endSession", sessionId: "s" }]);
  });
});

describe("admission", () => {
  it("refuses another protocol version and another engine build", () => {
    const state = readyCluster();
    const odd = registration("x");
    const protocol = { ...odd, capabilities: { ...odd.capabilities, protocolVersion: 2 } };
    expect(judgeRegistration(state, protocol)?.code).toBe("PROTOCOL_MISMATCH");
    expect(judgeRegistration(state, registration("x", "1", "b2"))?.code).toBe("BUILD_MISMATCH");
    expect(judgeRegistration(state, registration("x"))).toBeNull();
    const pinned = createState({ ...CONFIG, engineBuild: "b2" });
    expect(judgeRegistration(pinned, registration("x"))?.code).toBe("BUILD_MISMATCH");
  });
});

/** What must hold in every state between two events. */
function findContradictions(state: ClusterState): string[] {
  const found: string[] = [];
  for (const { nodeId } of state.plan?.stages ?? []) {
    if (nodeId === null && state.broken === null) found.push("a vacant stage in a plan that is not broken");
    if (nodeId !== null && phaseOf(state, nodeId) === "lost") found.push(`lost ${nodeId} holds a stage`);
  }
  for (const { id, phase, stage } of state.nodes.values()) {
    if (phase === "ready" && holders(state)?.includes(id) !== true) found.push(`${id} is ready without a stage`);
    if (phase === "lost" && stage !== null) found.push(`lost ${id} has a stage's report`);
  }
  const allReady = holders(state)?.every((id) => id !== null && phaseOf(state, id) === "ready") === true;
  if (judgeHealth(state).status === "ready" && !allReady) found.push("healthy with a stage that is not ready");
  return found;
}

describe("whatever happens", () => {
  const node = fc.constantFrom("a", "b", "c", "d");
  const incarnation = fc.constantFrom("1", "2");
  const phase = fc.constantFrom<StagePhase>("fetching", "loading", "ready", "failed", "restarting");
  const happening = fc.oneof(
    fc.record({ do: fc.constant("join" as const), node, incarnation }),
    fc.record({
      do: fc.constant("report" as const),
      node,
      incarnation,
      phase,
      canary: fc.constantFrom("x", "x", "x", "y"),
    }),
    fc.record({ do: fc.constant("lose" as const), node, incarnation }),
    fc.record({ do: fc.constant("leave" as const), node, incarnation }),
    fc.record({ do: fc.constant("beat" as const), node, incarnation }),
    fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 2000 }) }),
  );

  it("epochs grow, plans are whole when made, and lost nodes hold nothing", () => {
    const property = fc.property(fc.array(happening, { maxLength: 60 }), (happenings) => {
      let state = createState(CONFIG);
      let nowMs = 0;
      let epoch = CONFIG.firstEpoch;
      for (const what of happenings) {
        if (what.do === "wait") nowMs += what.ms;
        else if (what.do === "join") state = join(state, what.node, what.incarnation, nowMs);
        else if (what.do === "lose") state = lose(state, what.node, what.incarnation);
        else if (what.do === "leave")
          state = apply(state, { type: "leaving", nodeId: what.node, incarnation: what.incarnation });
        else if (what.do === "beat") {
          state = apply(state, {
            type: "heartbeat",
            nodeId: what.node,
            incarnation: what.incarnation,
            rssBytes: 1,
            sessions: 0,
            nowMs,
          });
        } else {
          state = report(
            state,
            what.node,
            status(state.plan?.epoch ?? 0, what.phase, what.canary),
            what.incarnation,
            nowMs,
          );
        }
        for (const action of decide(state, nowMs)) {
          if (action.type !== "assign") continue;
          expect(action.plan.epoch).toBeGreaterThan(epoch);
          epoch = action.plan.epoch;
          const ids = action.plan.stages.map((stage) => stage.nodeId);
          expect(new Set(ids).size).toBe(CONFIG.split.length);
          expect(action.plan.stages.map((stage) => stage.units)).toEqual(CONFIG.split);
        }
        state = settle(state, nowMs);
        expect(findContradictions(state)).toEqual([]);
      }
    });
    fc.assert(property, { seed: 20261123, numRuns: 300 });
  });

  it("prints units as the split is written", () => {
    expect(formatUnits({ first: 0, end: 6 })).toBe("0:6");
  });
});
