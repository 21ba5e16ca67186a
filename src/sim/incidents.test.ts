import { describe, expect, it } from "vitest";
import { simulate } from "./simulate.ts";
import { makeCluster, makePipeline } from "./testing.ts";
import type { Incident, SimNode } from "./types.ts";

/** One request of 2 + 10 tokens, 10 ms each on one node; when each token comes. */
function runOne(incidents: readonly Incident[], nodes?: readonly SimNode[]) {
  const pipeline = makePipeline({ stages: [10], policy: { slots: 1 } });
  const tokens: number[] = [];
  const document = simulate(
    makeCluster([pipeline], { incidents, nodes: nodes ?? [{ id: "n0" }, { id: "n1" }] }),
    { loop: "closed", requests: [{ atMs: 0, promptTokens: 2, genTokens: 10, client: "c" }] },
    { observer: { onToken: (_request, _index, atMs) => tokens.push(atMs) } },
  );
  return { document, tokens };
}

const USUAL = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
const spare = makePipeline({ stages: [5], nodes: ["n1"], policy: { slots: 1 } });

describe("incidents in a simulation", () => {
  it("change nothing where there is none", () => {
    expect(runOne([]).tokens).toEqual(USUAL);
  });

  it("stretch the work that is under way when a node becomes slow, and only what is left of it", () => {
    const slowdowns = [
      { atMs: 25, factor: 2 },
      { atMs: 45, factor: 1 },
    ];
    // 30: 5 ms of work are left at 25 and take 10. 45: 5 of the next 10 are done.
    expect(runOne([], [{ id: "n0", slowdowns }]).tokens).toEqual([10, 20, 35, 45 + 5, 60, 70, 80, 90, 100, 110]);
  });

  it("read a request's text again when a node has failed, was missed, and is back", () => {
    const { tokens, document } = runOne([{ type: "fail", atMs: 34, node: "n0", detectMs: 20, pauseMs: 6 }]);
    // Noticed at 54, back at 60: the text of 2 + 3 tokens is read in one chunk and gives the fourth token.
    expect(tokens).toEqual([10, 20, 30, 70, 80, 90, 100, 110, 120, 130]);
    expect(document.requests.read_again).toBe(1);
  });

  it("go on with another plan when a node stays away", () => {
    const fail = { type: "fail", atMs: 34, node: "n0", detectMs: 20, pauseMs: 6, pipelines: [spare] } as const;
    const { tokens, document } = runOne([fail]);
    expect(tokens).toEqual([10, 20, 30, 65, 70, 75, 80, 85, 90, 95]);
    expect(document.stages.map(({ pipeline, node }) => [pipeline, node])).toEqual([
      [0, "n0"],
      [1, "n1"],
    ]);
  });

  it("move a request to a new plan between two tokens, with its KV or without", () => {
    const move = { type: "plan", atMs: 34, pipelines: [spare], mode: "move", pauseMs: 6, keepKv: true } as const;
    // What is under way comes back at 40; 6 ms later the next row runs on the other node.
    expect(runOne([move]).tokens).toEqual([10, 20, 30, 40, 51, 56, 61, 66, 71, 76]);
    const afresh = runOne([{ ...move, keepKv: false }]);
    expect(afresh.tokens).toEqual([10, 20, 30, 40, 51, 56, 61, 66, 71, 76]);
    expect(afresh.document.stages[1]?.rows).toBe(2 + 4 + 5);
    expect(runOne([move]).document.stages[1]?.rows).toBe(6);
  });

  it("let old requests end on the old plan while new ones take the new one, or wait for it", () => {
    const pipeline = makePipeline({ stages: [10], policy: { slots: 2 } });
    const endsOf = (mode: "beside" | "drain") => {
      const ends: number[] = [];
      simulate(
        makeCluster([pipeline], {
          nodes: [{ id: "n0" }, { id: "n1" }],
          incidents: [{ type: "plan", atMs: 5, pipelines: [spare], mode, pauseMs: 2, keepKv: true }],
        }),
        {
          loop: "open",
          requests: [
            { atMs: 0, promptTokens: 1, genTokens: 5, client: "a" },
            { atMs: 20, promptTokens: 1, genTokens: 2, client: "b" },
          ],
        },
        { observer: { onEnd: (request, atMs) => (ends[request] = atMs) } },
      );
      return ends;
    };
    expect(endsOf("beside")).toEqual([50, 30]);
    expect(endsOf("drain")).toEqual([50, 62]);
  });

  it("lose nothing where several fall together", () => {
    const { document } = runOne([
      { type: "plan", atMs: 22, pipelines: [spare], mode: "move", pauseMs: 30, keepKv: true },
      { type: "fail", atMs: 23, node: "n0", detectMs: 10, pauseMs: 5 },
      { type: "fail", atMs: 70, node: "n1", detectMs: 10, pauseMs: 5 },
      { type: "fail", atMs: 71, node: "n0", detectMs: 10, pauseMs: 5 },
    ]);
    expect(document.requests).toMatchObject({ finished: 1, generated_tokens: 10 });
  });

  it("are refused where they have no sense", () => {
    const fail = { type: "fail", atMs: 1, node: "n0", detectMs: 1, pauseMs: 1 } as const;
    expect(() => runOne([{ ...fail, node: "z" }])).toThrow(expect.objectContaining({ code: "SIMULATION_INVALID" }));
    expect(() => runOne([{ ...fail, pauseMs: -1 }])).toThrow(expect.objectContaining({ code: "SIMULATION_INVALID" }));
    expect(() => runOne([], [])).toThrow(expect.objectContaining({ code: "PLAN_INVALID" }));
  });
});
