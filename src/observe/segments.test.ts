import { describe, expect, it } from "vitest";
import { classifyGraph } from "./classify.ts";
import type { GraphNode, GraphStage } from "./graph.ts";
import { findPointNodes } from "./points.ts";
import { planSegments } from "./segments.ts";

/** Name, operation, sources by name; what is no earlier node is a weight or an input. */
type Row = readonly [name: string, op: string, ...sources: string[]];

function makeGraph(rows: readonly Row[]): readonly GraphNode[] {
  const latest = new Map<string, number>();
  return rows.map(([name, op, ...sources], ordinal) => {
    const node = {
      ordinal,
      name,
      op,
      type: "f32",
      shape: [8, 1, 1, 1],
      sources: sources.map((source) => ({ ordinal: latest.get(source) ?? -1, name: source })),
      isView: op === "VIEW",
    };
    latest.set(name, ordinal);
    return node;
  });
}

function block(n: number, input: string): readonly Row[] {
  return [
    [`norm-${n}`, "RMS_NORM", input],
    [`attn_norm-${n}`, "MUL", `norm-${n}`, `blk.${n}.attn_norm.weight`],
    [`Qcur-${n}`, "MUL_MAT", `blk.${n}.attn_q.weight`, `attn_norm-${n}`],
    [`Qnorm-${n}`, "RMS_NORM", `Qcur-${n}`],
    [`Qcur-${n}`, "MUL", `Qnorm-${n}`, `blk.${n}.attn_q_norm.weight`],
    [`Qcur-${n}`, "ROPE", `Qcur-${n}`, "inp_pos", "rope_freqs.weight"],
    [`k-${n}`, "SET_ROWS", `Qcur-${n}`, "cache_k"],
    [`view-${n}`, "VIEW", `k-${n}`],
    [`kqv-${n}`, "FLASH_ATTN_EXT", `Qcur-${n}`, `view-${n}`],
    [`attn_out-${n}`, "MUL_MAT", `blk.${n}.attn_output.weight`, `kqv-${n}`],
    [`scaled-${n}`, "SCALE", `attn_out-${n}`],
    [`ffn_inp-${n}`, "ADD", `scaled-${n}`, input],
    [`norm-${n}`, "RMS_NORM", `ffn_inp-${n}`],
    [`ffn_norm-${n}`, "MUL", `norm-${n}`, `blk.${n}.ffn_norm.weight`],
    [`ffn_up-${n}`, "MUL_MAT", `blk.${n}.ffn_up.weight`, `ffn_norm-${n}`],
    [`ffn_act-${n}`, "UNARY", `ffn_up-${n}`],
    [`ffn_out-${n}`, "MUL_MAT", `blk.${n}.ffn_down.weight`, `ffn_act-${n}`],
    [`l_out-${n}`, "ADD", `ffn_out-${n}`, `ffn_inp-${n}`],
  ];
}

const EMBEDDING: readonly Row[] = [
  ["embd", "GET_ROWS", "token_embd.weight", "inp_tokens"],
  ["pos_embd", "GET_ROWS", "position_embd.weight", "inp_pos"],
  ["inpL", "ADD", "embd", "pos_embd"],
];
const HEAD = (input: string): readonly Row[] => [
  ["norm", "RMS_NORM", input],
  ["result_norm", "MUL", "norm", "output_norm.weight"],
  ["result_output", "MUL_MAT", "output.weight", "result_norm"],
];
const WHOLE = makeGraph([...EMBEDDING, ...block(0, "inpL"), ...block(1, "l_out-0"), ...HEAD("l_out-1")]);
const STAGE: GraphStage = { units: { first: 0, end: 4 }, unitCount: 4 };

describe("the meaning of a graph", () => {
  it("is a unit and a role for each node", () => {
    const meanings = classifyGraph(WHOLE, STAGE);
    expect(meanings.map(({ unit }) => unit)).toEqual([
      0,
      0,
      0,
      ...Array.from({ length: 18 }, () => 1),
      ...Array.from({ length: 18 }, () => 2),
      3,
      3,
      3,
    ]);
    expect(meanings.slice(0, 21).map(({ role }) => role)).toEqual([
      "embedding.token",
      "embedding.position",
      "embedding.position",
      "norm",
      "norm",
      "attention.qkv",
      "attention.qkv",
      "attention.qkv",
      "attention.rope",
      "attention.kv_write",
      "attention.kv_write",
      "attention.scores",
      "attention.output",
      "attention.output",
      "residual",
      "norm",
      "norm",
      "mlp.up",
      "mlp.act",
      "mlp.down",
      "residual",
    ]);
    expect(meanings.slice(-3).map(({ role }) => role)).toEqual(["norm", "norm", "head"]);
  });

  it("counts blocks from the stage's first unit", () => {
    const rows = [...block(0, "embd"), ...block(1, "l_out-0")];
    const stage = { units: { first: 4, end: 6 }, unitCount: 9 };
    const meanings = classifyGraph(makeGraph(rows), stage);
    expect(meanings.map(({ unit }) => unit)).toEqual([
      ...rows.slice(0, 18).map(() => 4),
      ...rows.slice(18).map(() => 5),
    ]);
    expect(meanings.filter(({ role }) => role === "residual")).toHaveLength(4);
    const points = findPointNodes(makeGraph(rows), meanings, stage);
    expect(Object.fromEntries(points)).toEqual({
      "blocks.3.in": -1,
      "blocks.3.attn.out": 10,
      "blocks.3.mlp.out": 16,
      "blocks.3.out": 17,
      "blocks.4.in": 17,
      "blocks.4.attn.out": 28,
      "blocks.4.mlp.out": 34,
      "blocks.4.out": 35,
    });
  });

  it("calls the zero block of a head alone other, and an unknown operation too", () => {
    const stage = { units: { first: 3, end: 4 }, unitCount: 4 };
    const meanings = classifyGraph(makeGraph([...block(0, "embd"), ...HEAD("l_out-0")]), stage);
    expect(new Set(meanings.map(({ unit }) => unit))).toEqual(new Set([3]));
    expect(meanings.map(({ role }) => role)).toEqual([
      ...Array.from({ length: 18 }, () => "other"),
      "norm",
      "norm",
      "head",
    ]);
    expect(classifyGraph(makeGraph([["x", "WIN_PART", "y"]]), STAGE)[0]?.role).toBe("other");
  });

  it("tells the parts of a mixture of experts", () => {
    const graph = makeGraph([
      ["ffn_norm-0", "MUL", "x", "blk.0.ffn_norm.weight"],
      ["logits", "MUL_MAT", "blk.0.ffn_gate_inp.weight", "ffn_norm-0"],
      ["probs", "SOFT_MAX", "logits"],
      ["sorted", "ARGSORT", "probs"],
      ["weights", "GET_ROWS", "probs", "sorted"],
      ["up", "MUL_MAT_ID", "blk.0.ffn_up_exps.weight", "ffn_norm-0", "sorted"],
      ["act", "GLU", "up"],
      ["down", "MUL_MAT_ID", "blk.0.ffn_down_exps.weight", "act", "sorted"],
      ["weighted", "MUL", "down", "weights"],
      ["shared", "MUL_MAT", "blk.0.ffn_up_shexp.weight", "ffn_norm-0"],
      ["sum", "ADD", "weighted", "shared"],
    ]);
    expect(classifyGraph(graph, STAGE).map(({ role }) => role)).toEqual([
      "norm",
      ...Array.from({ length: 4 }, () => "moe.router"),
      ...Array.from({ length: 6 }, () => "moe.experts"),
    ]);
  });

  it("keeps attention that is not fused together", () => {
    const graph = makeGraph([
      ["q", "MUL_MAT", "blk.0.attn_q.weight", "x"],
      ["kq", "MUL_MAT", "cache_k", "q"],
      ["kq", "SOFT_MAX", "kq", "attn_inp_kq_mask"],
      ["kqv", "MUL_MAT", "cache_v", "kq"],
      ["kqv", "CONT", "kqv"],
      ["mask", "CPY", "attn_inp_kq_mask"],
      ["stored", "CPY", "q", "cache_k_l0"],
    ]);
    expect(classifyGraph(graph, STAGE).map(({ role }) => role)).toEqual([
      "attention.qkv",
      ...Array.from({ length: 5 }, () => "attention.scores"),
      "attention.kv_write",
    ]);
  });
});

describe("segments", () => {
  const meanings = classifyGraph(WHOLE, STAGE);

  it("of level layer are the units", () => {
    expect(planSegments(WHOLE, meanings, "layer", [])).toEqual([
      { end: 2, unit: 0, role: "total", nodes: 3 },
      { end: 20, unit: 1, role: "total", nodes: 17 },
      { end: 38, unit: 2, role: "total", nodes: 17 },
      { end: 41, unit: 3, role: "total", nodes: 3 },
    ]);
  });

  it("of level role are few, and a residual addition goes with what precedes it", () => {
    const plan = planSegments(WHOLE, meanings, "role", []);
    const roles = plan.filter(({ unit }) => unit === 1).map(({ role, end }) => [role, WHOLE[end]?.name]);
    expect(roles).toEqual([
      ["norm", "attn_norm-0"],
      ["attention", "ffn_inp-0"],
      ["norm", "ffn_norm-0"],
      ["mlp", "l_out-0"],
    ]);
    expect(plan.reduce((sum, { nodes }) => sum + nodes, 0)).toBe(WHOLE.filter(({ isView }) => !isView).length);
    expect(plan.slice(-2).map(({ role }) => role)).toEqual(["norm", "head"]);
  });

  it("of level node are the nodes, with those together that the engine fuses", () => {
    const plan = planSegments(WHOLE, meanings, "node", []);
    const ends = plan.map(({ end }) => WHOLE[end]);
    expect(ends.filter((node) => node?.op === "RMS_NORM" || node?.isView === true)).toEqual([]);
    expect(plan.filter(({ nodes }) => nodes === 2)).toHaveLength(7);
    expect(plan.reduce((sum, { nodes }) => sum + nodes, 0)).toBe(WHOLE.filter(({ isView }) => !isView).length);
  });

  it("also end where they are asked to, at whatever level", () => {
    expect(planSegments(WHOLE, meanings, null, [])).toEqual([]);
    expect(planSegments(WHOLE, meanings, null, [19, 13])).toEqual([
      { end: 13, unit: 1, role: "attention", nodes: 13 },
      { end: 19, unit: 1, role: "mlp", nodes: 6 },
    ]);
    const split = planSegments(WHOLE, meanings, "layer", [13]);
    expect(split.filter(({ unit }) => unit === 1).map(({ role, nodes }) => [role, nodes])).toEqual([
      ["total", 10],
      ["total", 7],
    ]);
  });
});
