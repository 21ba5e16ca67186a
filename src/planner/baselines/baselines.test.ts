import { describe, expect, test } from "vitest";
import { NoodleError } from "../../common/index.ts";
import type { Problem } from "../document.ts";
import { planProblem } from "../plan.ts";
import { BASELINE_RULES, compareBaselines, planBaseline } from "./compare.ts";

const STILL = { nowMs: () => 0 };

/** Embedding, ten blocks, head; three nodes whose memory is 50, 30 and 20. */
const PROBLEM: Problem = {
  units: 12,
  unit_bytes: new Array<number>(12).fill(1),
  nodes: [
    { id: "a", unit_ms: new Array<number>(12).fill(1), memory_bytes: 50 },
    { id: "b", unit_ms: new Array<number>(12).fill(2), memory_bytes: 30 },
    { id: "c", unit_ms: new Array<number>(12).fill(4), memory_bytes: 20 },
  ],
  links: { default: { latency_ms: 1, bytes_per_ms: 10 } },
  activation_bytes: 10,
  objective: "period",
};

async function cutsOf(name: string, problem: Problem = PROBLEM): Promise<string> {
  const answer = await planBaseline(problem, name, STILL);
  return answer.stages.map((stage) => `${stage.nodes.join("+")} ${stage.first}:${stage.end}`).join(", ");
}

describe("baselines", () => {
  test.each([
    ["equal", "a 0:4, b 4:8, c 8:12"],
    // Places 0..10 against shares 0.5, 0.8, 1: six, three and two; the embedding goes with the first.
    ["llama.cpp", "a 0:7, b 7:10, c 10:12"],
    ["exo-ring", "a 0:6, b 6:9, c 9:12"],
    ["pipeedge", "c 0:2, b 2:5, a 5:12"],
  ])("%s cuts as its rule says", async (name, cuts) => {
    const found = await cutsOf(name);
    if (name === "pipeedge") expect((await planBaseline(PROBLEM, name, STILL)).period_ms).toBe(8);
    else expect(found).toBe(cuts);
  });

  test("exo uses the fewest nodes that hold the weights; --fit fills from the back", async () => {
    const small = {
      ...PROBLEM,
      nodes: PROBLEM.nodes.map((node) => ({ ...node, memory_bytes: (node.memory_bytes ?? 0) / 5 })),
    };
    // 10 + 6 hold twelve: 7.5 and 4.5, the remainder of the first comes first.
    expect(await cutsOf("exo", small)).toBe("a 0:8, b 8:12");
    expect(await cutsOf("llama.cpp-fit", small)).toBe("a 0:2, b 2:8, c 8:12");
  });

  test("halda fills the quickest and drops nodes with one unit; parallax pours by speed into half of the memory", async () => {
    expect(await cutsOf("halda")).toBe("a 0:12");
    // The fewest nodes: a holds 25 - 2 of the ten blocks.
    expect(await cutsOf("parallax")).toBe("a 0:12");
  });

  test("petals serves first what is served worst", async () => {
    const spans = { ...PROBLEM, nodes: PROBLEM.nodes.map((node) => ({ ...node, memory_bytes: 4 })) };
    expect(await cutsOf("petals", spans)).toBe("a 0:4, b 4:8, c 8:12");
  });

  test("a rule that gives no plan says why, and the planner's stands beside it", async () => {
    const { nodes, ...rest } = PROBLEM;
    const unlimited = { ...rest, nodes: nodes.map(({ id, unit_ms }) => ({ id, unit_ms })) };
    const answer = await planBaseline(unlimited, "exo", STILL);
    expect(answer).toMatchObject({ feasible: false, proven: false, algorithm: "baseline exo" });
    expect(answer.infeasible_because?.resource).toBe("rule");
    expect(answer.alternatives[0]?.what).toBe("the planner's plan");
  });

  test("a rule that ignores memory is told so", async () => {
    const tight = { ...PROBLEM, nodes: PROBLEM.nodes.map((node, i) => ({ ...node, memory_bytes: [9, 2, 1][i] ?? 0 })) };
    const answer = await planBaseline(tight, "equal", STILL);
    expect(answer.infeasible_because?.resource).toBe("memory");
  });

  test("carries the planner's bound, so that its gap is honest", async () => {
    const ours = await planProblem(PROBLEM, STILL);
    const equal = await planBaseline(PROBLEM, "equal", STILL);
    expect(equal.bound_ms).toBe(ours.period_ms);
    expect(equal.gap).toBeCloseTo(((equal.period_ms ?? 0) - (ours.period_ms ?? 0)) / (ours.period_ms ?? 1), 9);
    expect(equal.proven).toBe(false);
  });

  test("all are compared under the same costs", async () => {
    const rows = compareBaselines(PROBLEM, await planProblem(PROBLEM, STILL));
    expect(rows.map((row) => row.name)).toEqual([...BASELINE_RULES.keys()]);
    expect(rows.find((row) => row.name === "equal")?.ratio).toBe(2);
  });

  test("an unknown name is refused", async () => {
    const failure = await planBaseline(PROBLEM, "best", STILL).catch(
      (thrown: unknown) => NoodleError.from(thrown).code,
    );
    expect(failure).toBe("USAGE");
  });
});
