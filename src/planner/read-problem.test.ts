import { describe, expect, test } from "vitest";
import { NoodleError } from "../common/index.ts";
import { PROBLEM_LIMITS } from "./document.ts";
import { parseProblem, readProblem } from "./read-problem.ts";

const NODE = { id: "a", unit_ms: [1, 2, 3] };
const PROBLEM = { units: 3, nodes: [NODE], activation_bytes: 8, objective: "period" };
const LINK = { latency_ms: 1, bytes_per_ms: 100 };

/** The error that reading gives, or null. */
function errorOf(read: () => unknown): NoodleError | null {
  try {
    read();
    return null;
  } catch (thrown) {
    return NoodleError.from(thrown);
  }
}

describe("readProblem", () => {
  test("takes the least problem and one with everything", () => {
    expect(readProblem(PROBLEM)).toEqual(PROBLEM);
    const whole = {
      schema: "noodle.problem.v1",
      ...PROBLEM,
      unit_bytes: [1, 2, 3],
      kv_bytes_per_token: [0, 1, 0],
      cache_tokens: 5,
      tied_units: [[0, 2]],
      nodes: [
        { ...NODE, memory_bytes: 9, overhead_ms: 1, max_units: 2 },
        { id: "b", stage_ms_by_count: { "1": 4, "3": 2 } },
      ],
      links: { default: LINK, pairs: [{ from: "a", to: "b", ...LINK }] },
      return_bytes: 4,
      max_period_ms: 10,
      replicas: 2,
      time_limit_s: 1,
    };
    expect(readProblem(whole)).toEqual(whole);
  });

  test.each<[string, unknown, string]>([
    ["a number instead of a problem", 3, ""],
    ["an unknown key", { ...PROBLEM, colour: 1 }, ""],
    ["an unknown key of a node", { ...PROBLEM, nodes: [{ ...NODE, speed: 2 }] }, "nodes[0]"],
    ["no nodes", { ...PROBLEM, nodes: [] }, "nodes"],
    ["a negative time", { ...PROBLEM, nodes: [{ id: "a", unit_ms: [1, -2, 3] }] }, "nodes[0].unit_ms[1]"],
    [
      "an infinite time",
      { ...PROBLEM, nodes: [{ id: "a", unit_ms: [1, Number.POSITIVE_INFINITY, 3] }] },
      "nodes[0].unit_ms[1]",
    ],
    ["a text for a number", { ...PROBLEM, activation_bytes: "8" }, "activation_bytes"],
    ["too few unit times", { ...PROBLEM, nodes: [{ id: "a", unit_ms: [1, 2] }] }, "nodes[0].unit_ms"],
    ["too few unit bytes", { ...PROBLEM, unit_bytes: [1] }, "unit_bytes"],
    ["both kinds of times", { ...PROBLEM, nodes: [{ ...NODE, stage_ms_by_count: { "1": 1 } }] }, "nodes[0]"],
    ["no times", { ...PROBLEM, nodes: [{ id: "a" }] }, "nodes[0]"],
    [
      "a count of nothing",
      { ...PROBLEM, nodes: [{ id: "a", stage_ms_by_count: { "0": 1 } }] },
      "nodes[0].stage_ms_by_count.0",
    ],
    [
      "a count of too much",
      { ...PROBLEM, nodes: [{ id: "a", stage_ms_by_count: { "4": 1 } }] },
      "nodes[0].stage_ms_by_count",
    ],
    ["two nodes of one name", { ...PROBLEM, nodes: [NODE, NODE] }, "nodes[1].id"],
    [
      "a link from nowhere",
      { ...PROBLEM, links: { default: LINK, pairs: [{ from: "x", to: "a", ...LINK }] } },
      "links.pairs[0].from",
    ],
    [
      "a link to itself",
      { ...PROBLEM, links: { default: LINK, pairs: [{ from: "a", to: "a", ...LINK }] } },
      "links.pairs[0]",
    ],
    [
      "a link that carries nothing",
      { ...PROBLEM, links: { default: { ...LINK, bytes_per_ms: 0 } } },
      "links.default.bytes_per_ms",
    ],
    ["a tie beyond the units", { ...PROBLEM, tied_units: [[0, 3]] }, "tied_units[0]"],
    [
      "a unit that is tied twice",
      {
        ...PROBLEM,
        tied_units: [
          [0, 1],
          [1, 2],
        ],
      },
      "tied_units[1]",
    ],
    ["an objective that is none", { ...PROBLEM, objective: "best" }, "objective"],
    ["half a replica", { ...PROBLEM, replicas: 1.5 }, "replicas"],
    ["more units than there may be", { ...PROBLEM, units: PROBLEM_LIMITS.units + 1 }, "units"],
  ])("refuses %s and names the path", (_, value, path) => {
    const error = errorOf(() => readProblem(value));
    expect(error?.code).toBe("PROBLEM_INVALID");
    expect(error?.details["path"]).toBe(path);
  });

  test("refuses a link that is given twice", () => {
    const pair = { from: "a", to: "b", ...LINK };
    const value = { ...PROBLEM, nodes: [NODE, { ...NODE, id: "b" }], links: { default: LINK, pairs: [pair, pair] } };
    expect(errorOf(() => readProblem(value))?.details["path"]).toBe("links.pairs[1]");
  });

  test("shows little of a value that is huge", () => {
    const error = errorOf(() => readProblem({ ...PROBLEM, objective: "x".repeat(1e6) }));
    expect(error?.message.length).toBeLessThan(300);
  });
});

describe("parseProblem", () => {
  test("reads text", () => {
    expect(parseProblem(JSON.stringify(PROBLEM))).toEqual(PROBLEM);
  });

  test.each<[string, string, string]>([
    ["no JSON", "{units:3}", "PROBLEM_INVALID"],
    ["nothing", "", "PROBLEM_INVALID"],
    ["a million brackets", "[".repeat(1e6), "PROBLEM_TOO_LARGE"],
    ["too many bytes", " ".repeat(PROBLEM_LIMITS.textBytes + 1), "PROBLEM_TOO_LARGE"],
    ["a key that objects drop", '{"__proto__": {"units": 3}}', "PROBLEM_INVALID"],
  ])("refuses %s", (_, text, code) => {
    expect(errorOf(() => parseProblem(text))?.code).toBe(code);
  });

  test("takes brackets in names for what they are", () => {
    const named = { ...PROBLEM, nodes: [{ ...NODE, id: `${"[{".repeat(40)}\\"` }] };
    expect(parseProblem(JSON.stringify(named))).toEqual(named);
  });
});
