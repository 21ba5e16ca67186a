import { beforeAll, describe, expect, it } from "vitest";
import type { ReplanDocument, StatusDocument, WantedPlan } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import type { Loop, LoopDecision, LoopLook, LoopPlan, LoopStep } from "../loop/index.ts";
import type { EventRecord } from "../observe/index.ts";
import type { ModelPlan } from "../placement/index.ts";
import { LoopDriver } from "./loop-driver.ts";

/** As far as a coordinator takes it. */
const PLAN = {
  schema: "noodle.model_plan.v1",
  feasible: true,
  split: "0:1,1:4",
  order: ["a", "b"],
  model: { header_sha256: null },
  policy: { decode_in_flight: 2, max_decode_rows: 4, prefill_rows: 32, mixed_prefill_rows: 8 },
  predicted: { period_ms: 1, round_ms: 3, tokens_per_s: 1000 },
} as unknown as ModelPlan;

function decide(action: LoopDecision["action"]): LoopDecision {
  const event = {
    kind: "decision" as const,
    name: `loop.${action}`,
    severity: "info" as const,
    atMs: 0,
    node: null,
    figures: { gain: 0.4 },
    sentence: `it decides to ${action}`,
  };
  const move = { plan: PLAN, gain: 0.4, confidence: 0.99, bytes: 1, loadMs: 1, beside: true };
  return { action, event, move: action === "none" || action === "stay" ? null : move };
}

interface Rig {
  readonly driver: LoopDriver;
  readonly events: EventRecord[];
  readonly said: string[];
  readonly asked: { readonly plan: WantedPlan; readonly reason: string }[];
  readonly used: { readonly plan: LoopPlan; readonly moved: boolean }[];
  readonly steps: LoopStep[];
  readonly looks: LoopLook[];
  /** What the loop says next. */
  next: (() => readonly LoopDecision[]) | null;
  epoch: number;
  refusal: NoodleError | null;
}

function makeRig(): Rig {
  const rig: Omit<Rig, "driver"> = {
    events: [],
    said: [],
    asked: [],
    used: [],
    steps: [],
    looks: [],
    next: null,
    epoch: 5,
    refusal: null,
  };
  const loop: Loop = {
    observe: (step) => rig.steps.push(step),
    look: (look) => rig.looks.push(look),
    decide: async () => whole.next?.() ?? [],
    usePlan: (plan, _nowMs, moved) => rig.used.push({ plan, moved }),
    useCosts: () => undefined,
    nodeFactors: [],
    linkFactors: [],
  };
  const coordinator = {
    status: () =>
      ({
        plan: { epoch: whole.epoch, split: "0:2,2:4", order: ["a", "b"] },
        serving: { queued: 0 },
        sessions: [],
      }) as unknown as StatusDocument,
    replan: (plan: WantedPlan, reason: string) => {
      if (whole.refusal !== null) throw whole.refusal;
      rig.asked.push({ plan, reason });
      return { epoch: 6 } as ReplanDocument;
    },
  };
  const driver = new LoopDriver({
    coordinator,
    loop,
    epoch: 5,
    tell: (event) => rig.events.push(event),
    say: (sentence) => rig.said.push(sentence),
    nowMs: () => 1000,
  });
  const whole: Rig = Object.assign(rig, { driver });
  return whole;
}

describe("the loop's driver", () => {
  let rig = makeRig();
  beforeAll(() => {
    rig = makeRig();
  });

  it("gives steps to the loop with positions before them and milliseconds", () => {
    const stage = { stage: 0, nodeId: "x", queueNs: 2e6, computeNs: 3e6, serializeNs: 0, hopNs: null, bytesIn: 9 };
    const record = { stepId: 1, epoch: 5, requestIds: ["r"], sentMonoNs: 0, receivedMonoNs: 7e6, stages: [stage] };
    const rest = { ...record, sampledRequestIds: ["r"], level: "off" as const };
    rig.driver.observe({ ...rest, phase: "decode", rows: 2, contextTokens: 11 });
    rig.driver.observe({ ...rest, phase: "prefill", rows: 8, contextTokens: 11 });
    const stages = [{ stage: 0, computeMs: 3, queueMs: 2, hopMs: null, bytesIn: 9 }];
    expect(rig.steps).toEqual([
      { epoch: 5, atMs: 7, phase: "decode", rows: 2, context: 10, outputRows: 2, stages },
      { epoch: 5, atMs: 7, phase: "prefill", rows: 8, context: 3, outputRows: 1, stages },
    ]);
  });

  it("gives looks inside a stage with the time of each unit", () => {
    const segment = { role: "total" as const, startNs: 0, nodes: 1 };
    rig.driver.observeLayer({
      stepId: 1,
      epoch: 5,
      requestIds: ["r"],
      stage: 1,
      nodeId: "x",
      phase: "prefill",
      rows: 4,
      contextTokens: 12,
      level: "layer",
      segments: [
        { ...segment, unit: 2, durationNs: 1e6 },
        { ...segment, unit: 2, durationNs: 5e5 },
        { ...segment, unit: 3, durationNs: 2e6 },
      ],
      stepNs: 4e6,
      hookNs: 0,
      arrivalNodeNs: 0,
      computeStartNodeNs: 0,
      computeEndNodeNs: 0,
      sentNodeNs: 0,
    });
    const units = [
      { unit: 2, ms: 1.5 },
      { unit: 3, ms: 2 },
    ];
    expect(rig.looks).toEqual([{ epoch: 5, stage: 1, phase: "prefill", rows: 4, context: 8, units }]);
  });

  it("makes every decision an event, and only advises where that is decided", async () => {
    rig.next = () => [decide("stay"), decide("advise")];
    await rig.driver.tick();
    expect(rig.events.map(({ name, message }) => [name, message])).toEqual([
      ["loop.stay", "it decides to stay"],
      ["loop.advise", "it decides to advise"],
    ]);
    expect(rig.said).toEqual(["it decides to advise"]);
    expect(rig.asked).toEqual([]);
  });

  it("carries a move out, and tells the loop when its own plan, or another's, is in force", async () => {
    rig.next = () => [decide("move")];
    await rig.driver.tick();
    expect(rig.asked).toMatchObject([{ plan: { split: "0:1,1:4", order: ["a", "b"] }, reason: "it decides to move" }]);
    rig.next = () => [];
    rig.epoch = 6;
    await rig.driver.tick();
    rig.epoch = 9;
    await rig.driver.tick();
    expect(rig.used.map(({ plan, moved }) => [plan.epoch, moved])).toEqual([
      [6, true],
      [9, false],
    ]);
    expect(rig.used[0]?.plan.stages).toEqual([
      { node: "a", first: 0, end: 2 },
      { node: "b", first: 2, end: 4 },
    ]);
  });

  it("goes on when a move is refused, or a planning fails", async () => {
    rig.events.length = 0;
    rig.refusal = new NoodleError("CLUSTER_NOT_READY", "a change is under way");
    rig.next = () => [decide("move")];
    await rig.driver.tick();
    expect(rig.events.at(-1)).toMatchObject({ name: "loop.move_refused", details: { code: "CLUSTER_NOT_READY" } });
    rig.next = () => {
      throw new NoodleError("PLAN_INFEASIBLE", "no cut fits");
    };
    await rig.driver.tick();
    await rig.driver.tick();
    expect(rig.events.filter(({ name }) => name === "loop.failed")).toHaveLength(1);
  });
});
