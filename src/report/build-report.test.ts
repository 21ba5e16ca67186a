import { describe, expect, test } from "vitest";
import type { ProfileDocument } from "../profile/index.ts";
import { buildReport } from "./build-report.ts";
import { Digester } from "./digest/digester.ts";
import type { RunDigest } from "./digest/run-digest.ts";
import { reportSchema } from "./document-schema.ts";
import type { BarTrace, ReportChart, ReportDocument } from "./document.ts";
import type { ReportInputs } from "./inputs.ts";
import { formatMs, formatNumber, formatPercent, formatRatio } from "./numbers.ts";
import { makeProfile, makeRun, type RunShape, toUnixMs } from "./testing.ts";

const SHAPE: RunShape = { steps: 400, requests: 4, stages: ["0:5", "5:10", "10:14"], drift: 1.4 };

const NOTHING_SUMMED_UP = {
  verdict: [],
  decodeTokensPerS: null,
  undividedTokensPerS: null,
  ttftMs: null,
  figures: [],
  stages: [],
  death: null,
};

function digestRun(shape: RunShape): RunDigest | null {
  const { steps, layers, requests } = makeRun(shape);
  const digester = new Digester();
  digester.addPlan(
    {
      epoch: 1,
      split: shape.stages.join(","),
      reason: "first plan",
      stages: shape.stages.map((units, stage) => ({ stage, nodeId: `worker-${stage + 1}`, units })),
    },
    toUnixMs(5e12),
  );
  for (const step of steps) digester.addStep(step, toUnixMs(step.receivedMonoNs ?? 0));
  for (const layer of layers) digester.addLayer(layer, toUnixMs(layer.sentNodeNs));
  for (const request of requests) digester.addRequest(request, toUnixMs(request.monoNs));
  return digester.finish();
}

function makeInputs(parts: Partial<ReportInputs> = {}): ReportInputs {
  return { noodlecoreVersion: "0.1.0", name: "run", profiles: [], run: null, sources: [], ...parts };
}

function withProfile(document: ProfileDocument = makeProfile()): ReportInputs {
  return makeInputs({ profiles: [{ name: "here", document }] });
}

function findChart(report: ReportDocument, id: string): ReportChart {
  const chart = report.sections.flatMap(({ charts }) => charts).find((candidate) => candidate.id === id);
  if (chart === undefined) throw new Error(`no chart ${id}`);
  return chart;
}

function listIds(report: ReportDocument): string[] {
  return report.sections.flatMap(({ charts }) => charts.map(({ id }) => id));
}

describe("a report of a profile", () => {
  const profile = makeProfile();
  const report = buildReport(withProfile(profile));

  test("has the form that is published", () => {
    expect(reportSchema.parse(report)).toEqual(report);
  });

  test("has the profile's charts and says what a run would add", () => {
    expect(listIds(report)).toEqual(["unit-latency", "share", "roofline", "cost-curves", "unit-memory"]);
    expect(report.missing.map(({ what }) => what).join()).toContain("running cluster");
    expect(report.missing.every(({ how }) => how.length > 10)).toBe(true);
  });

  test("stacks each unit's roles to the unit's time, without the cost of looking", () => {
    const panel = findChart(report, "unit-latency").panels.find(({ id }) => id === "unit-latency-decode");
    const bars = panel?.traces as readonly BarTrace[];
    // The cell that the profile's own words are about.
    const cell = profile.bottlenecks.find(({ phase }) => phase === "decode");
    const rows = profile.units.filter(
      ({ unit, phase, rows: count, context, role }) =>
        unit === 3 && phase === "decode" && count === cell?.rows && context === cell.context && role !== "total",
    );
    const expected = rows.reduce((ms, row) => ms + row.p50_ms - row.sync_ms, 0);
    const drawn = bars.reduce((ms, { y }) => ms + Number(y[3]), 0);
    expect(drawn).toBeCloseTo(expected, 9);
    expect(bars[0]?.x).toHaveLength(profile.model.unit_count);
  });

  test("says the sum of what it draws", () => {
    const chart = findChart(report, "unit-latency");
    const decode = chart.panels[0]?.traces as readonly BarTrace[];
    const total = decode.flatMap(({ y }) => y.map(Number)).reduce((sum, ms) => sum + ms, 0);
    expect(chart.sentence).toContain(`Decode of 1 row: ${formatMs(total)} in its units`);
  });

  test("says the shares that it draws, and they add up to the whole", () => {
    const chart = findChart(report, "share");
    const [byRole] = chart.panels;
    const bars = byRole?.traces as readonly BarTrace[];
    expect(bars.reduce((sum, { x }) => sum + Number(x[0]), 0)).toBeCloseTo(100, 6);
    const largest = bars.reduce((best, bar) => (Number(bar.x[0]) > Number(best.x[0]) ? bar : best));
    expect(chart.sentence).toContain(`In decode: ${largest.name} ${formatPercent(Number(largest.x[0]) / 100)}`);
  });

  test("gives attention the share that the profile's words give it", () => {
    const bars = findChart(report, "share").panels[0]?.traces as readonly BarTrace[];
    const attention = bars.find(({ name }) => name === "attention");
    const named = profile.bottlenecks.find(({ phase, role }) => phase === "decode" && role === "attention");
    // The profile leaves the last block, a class of its own, out.
    expect(Number(attention?.x[0])).toBeGreaterThan(100 * (named?.share ?? 1) - 0.5);
  });

  test("says what the parts of a step do not explain", () => {
    const cells = profile.cells.map((cell) => ({ ...cell, missing_ratio: 0.12 }));
    const chart = findChart(buildReport(withProfile({ ...profile, cells })), "unit-latency");
    expect(chart.note).toContain("In decode the parts and the hooks add up to 12% less than the step.");
  });

  test("draws the roofs that were measured", () => {
    const roof = findChart(report, "roofline").panels[0]?.traces.find(({ name }) => name === "roof");
    const { memory_gb_per_s: memory, compute_gflops: compute } = profile.machine;
    if (roof?.type !== "points") throw new Error("the roof is a line");
    const [left = 0, ridge = 0] = roof.x.map(Number);
    expect(Number(roof.y[0]) / left).toBeCloseTo(memory, 9);
    expect(ridge).toBeCloseTo(compute / memory, 9);
    expect(roof.y.slice(1)).toEqual([compute, compute]);
  });

  test("says what more rows cost from the cost model's own cells", () => {
    const { classes } = profile.cost_model;
    const cost = (row: number): number =>
      classes.reduce((ms, { units, decode }) => ms + units.length * (decode.ms[decode.rows.indexOf(row)]?.[0] ?? 0), 0);
    expect(findChart(report, "cost-curves").sentence).toContain(
      `16 rows in one decode step cost ${formatRatio(cost(16) / cost(1))} what 1 row does`,
    );
  });

  test("has a row for everything that it draws in each table", () => {
    for (const { charts } of report.sections) {
      for (const { table } of charts) {
        expect(table.rows.length).toBeGreaterThan(0);
        for (const row of table.rows) expect(row).toHaveLength(table.columns.length);
      }
    }
  });

  test("is the same for the same inputs", () => {
    expect(JSON.stringify(buildReport(withProfile(makeProfile())))).toBe(JSON.stringify(report));
  });

  test("puts three sentences first, the bottleneck on top", () => {
    expect(report.statements).toHaveLength(3);
    expect(report.statements[0]?.toLowerCase()).toBe(profile.summary[0]?.toLowerCase());
  });

  test("lists what would help, the largest gain first and each kind once", () => {
    const gains = report.remedies.map(({ gain_ratio }) => gain_ratio);
    const all = profile.bottlenecks.flatMap(({ remedies }) => remedies.map(({ gain_ratio }) => gain_ratio));
    expect(gains[0]).toBe(Math.max(...all));
    expect(gains).toEqual(gains.toSorted((a, b) => b - a));
    expect(new Set(report.remedies.map(({ words }) => words)).size).toBe(report.remedies.length);
  });

  test("without roles shows whole units, and how to get roles", () => {
    const plain = buildReport(withProfile(makeProfile({ level: "layer" })));
    expect(findChart(plain, "share").panels.map(({ id }) => id)).toEqual(["share-class"]);
    expect(plain.missing.map(({ how }) => how).join()).toContain("--level role");
  });

  test("groups the fine roles of level node", () => {
    const fine = buildReport(withProfile(makeProfile({ level: "node" })));
    const names = findChart(fine, "unit-latency").panels[0]?.traces.map(({ name }) => name);
    expect(names).toContain("attention");
    expect(names).not.toContain("attention.qkv");
  });

  test("says which cells were not measured", () => {
    const skipped = [{ phase: "decode", rows: 8, context: 0, reason: "the budget of 60 s was over" }] as const;
    const report = buildReport(withProfile({ ...profile, skipped, partial: true, partial_reason: "interrupted" }));
    const words = report.missing.map(({ what, how }) => `${what} ${how}`).join(" ");
    expect(words).toContain("the budget of 60 s was over");
    expect(words).toContain("interrupted");
  });

  test("stands a profile with nothing in it", () => {
    const empty = {
      ...profile,
      units: [],
      cells: [],
      bottlenecks: [],
      summary: [],
      cost_model: { ...profile.cost_model, classes: [] },
    };
    expect(listIds(buildReport(withProfile(empty)))).toEqual([]);
  });
});

describe("a report of a run", () => {
  const digest = digestRun(SHAPE);
  const run = { plan: null, summary: null, digest };

  test("has the run's charts, and says how to get those of a profile", () => {
    const report = buildReport(makeInputs({ run }));
    expect(listIds(report)).toEqual(["timeline", "series", "heat-map"]);
    expect(report.missing[0]?.how).toContain("noodle profile");
    expect(report.title).toBe("run");
  });

  test("lays a step's pieces behind one another from sending to receiving", () => {
    const bars = findChart(buildReport(makeInputs({ run })), "timeline").panels[0]?.traces as readonly BarTrace[];
    const pieces = bars
      .flatMap(({ base, x }) => (base ?? []).map((start, index) => ({ start, ms: Number(x[index]) })))
      .toSorted((a, b) => a.start - b.start);
    const [first] = digest?.timeline ?? [];
    let endMs = 0;
    for (const { start, ms } of pieces) {
      // The coordinator rests between two steps.
      expect(start - endMs).toBeGreaterThan(-1e-6);
      expect(start - endMs).toBeLessThan(0.05);
      endMs = start + ms;
    }
    expect(pieces[0]?.start).toBe(0);
    expect(pieces.filter(({ start }) => start < (first?.receivedMs ?? 0) - (first?.sentMs ?? 0)).length).toBe(12);
  });

  test("says the medians of its stages", () => {
    const { sentence } = findChart(buildReport(makeInputs({ run })), "timeline");
    const compute = (digest?.stages ?? []).reduce((sum, { computeMs }) => sum + computeMs.p50, 0);
    expect(sentence).toContain(`${formatMs(digest?.decode?.totalMs.p50 ?? 0)} from sending`);
    expect(sentence).toContain(`${formatMs(compute)} (`);
    expect(sentence).toContain("Stage 2, worker-2, 5:10 computes longest");
  });

  test("finds the units that became slower", () => {
    const { sentence } = findChart(buildReport(makeInputs({ run })), "heat-map");
    expect(sentence).toContain("5 units (block 4 to block 8) changed");
  });

  test("puts a profile's prediction beside what was measured", () => {
    const profiles = [{ name: "here", document: makeProfile() }];
    const report = buildReport(makeInputs({ run, profiles }));
    const chart = findChart(report, "predicted-measured");
    expect(chart.panels.map(({ id }) => id)).toEqual(["predicted-stages", "predicted-units"]);
    const [predicted, measured] = (chart.panels[0]?.traces ?? []) as readonly BarTrace[];
    expect(measured?.x).toEqual(digest?.stages.map(({ oneRowComputeMs }) => oneRowComputeMs?.p50));
    expect(chart.table.rows[0]?.[1]).toBe(formatNumber(Number(predicted?.x[0])));
    expect(report.statements.join(" ")).toContain("what the profile predicts");
  });

  test("leaves the prediction out, with a word, when the profile is of other units", () => {
    const profiles = [{ name: "here", document: makeProfile({ units: "0:3", measured: ({ unit }) => unit < 3 }) }];
    const report = buildReport(makeInputs({ run, profiles }));
    expect(listIds(report)).not.toContain("predicted-measured");
    expect(report.missing.map(({ what }) => what)).toContain("Prediction against measurement");
  });

  test("takes the summary's stages where there are no logs", () => {
    const stages = SHAPE.stages.map((units, index) => ({
      node: `w${index}`,
      units,
      computeMsP50: 1,
      queueMsP50: null,
      hopMsP50: null,
    }));
    const summary = {
      verdict: ["it went well"],
      decodeTokensPerS: 95,
      undividedTokensPerS: 652,
      ttftMs: 80,
      figures: [],
      stages,
      death: null,
    };
    const profiles = [{ name: "here", document: makeProfile() }];
    const report = buildReport(makeInputs({ run: { plan: null, summary, digest: null }, profiles }));
    expect(findChart(report, "predicted-measured").panels.map(({ id }) => id)).toEqual(["predicted-stages"]);
    expect(report.figures[0]).toMatchObject({ label: "tokens per second", value: "95.0" });
  });

  test("shows the plan with its bound and the others, and the signed error of what was foretold", () => {
    const stage = { node: "w1", units: "0:14", decodeMs: 2, prefillMs: 9, busyRatio: 1, why: "the whole model" };
    const forecast = {
      stages: [stage],
      tokensPerS: 400,
      itlMs: 20,
      streams: 8,
      bound: { gap: 0, proven: true },
      binds: "the stage of w1",
      others: [{ name: "w2 alone", stages: "all", tokensPerS: 300, itlMs: 27 }],
      notes: [],
    };
    const plan = { forecast, model: "m", split: "0:14", threads: null, stages: [] };
    const figures = [
      { name: "first token", unit: "ms", predicted: 8, measured: 10 },
      { name: "one stream", unit: "tokens/s", predicted: 110, measured: 100 },
    ];
    const summary = { ...NOTHING_SUMMED_UP, decodeTokensPerS: 100, ttftMs: 10, figures };
    const report = buildReport(makeInputs({ run: { plan, summary, digest: null } }));
    expect(findChart(report, "plan").sentence).toContain("proven");
    expect(findChart(report, "plan").table.rows.map(([what]) => what)).toEqual(["w1", "the plan", "w2 alone"]);
    const rows = findChart(report, "forecast").table.rows;
    expect(rows.map((row) => row[4])).toEqual(["-20%", "+10%"]);
  });

  test("draws a stream that outlived a worker beside the same stream undisturbed", () => {
    const undisturbedMs = Array.from({ length: 40 }, (_, index) => 20 + 4 * index);
    const death = {
      worker: "worker-2",
      units: "5:10",
      before: ["0:5 on worker-1", "5:10 on worker-2", "10:14 on worker-3"],
      after: ["0:7 on worker-1", "7:14 on worker-3"],
      cause: "peer_dead",
      killedBehind: 15,
      killedMs: 76,
      resumedMs: 676,
      detectMs: 4,
      replanMs: 500,
      refillMs: 90,
      nextTokenMs: 6,
      backMs: 2300,
      tokensRefilled: 31,
      equalTokens: 40,
      identicalLogits: true,
      identicalKv: true,
      tokensMs: undisturbedMs.map((ms, index) => (index < 15 ? ms : ms + 596)),
      undisturbedMs,
    };
    const summary = { ...NOTHING_SUMMED_UP, death };
    const report = buildReport(makeInputs({ run: { plan: null, summary, digest: null } }));
    expect(reportSchema.parse(report)).toEqual(report);
    const { sentence, panels } = findChart(report, "survival");
    expect(sentence).toContain(`went on ${formatMs(600)} later, and 40 of 40 tokens`);
    expect(panels.map(({ moments }) => moments.map(({ x }) => x))).toEqual([[76, 676], []]);
    const [parts] = (panels[1]?.traces ?? []) as readonly BarTrace[];
    expect(parts?.x.map(Number).reduce((sum, ms) => sum + ms, 0)).toBe(600);
    expect(report.figures.map(({ label }) => label)).toContain("worker killed, next token");
  });

  test("says first that requests failed", () => {
    const digester = new Digester();
    const { requests } = makeRun(SHAPE);
    for (const request of requests) {
      digester.addRequest(request.type === "end" ? { ...request, errorCode: "PEER_DEAD" } : request, 1000);
    }
    const digest = digester.finish();
    const report = buildReport(makeInputs({ run: { plan: null, summary: null, digest } }));
    expect(report.statements[0]).toContain("4 of 4 requests failed");
  });
});

describe("a report of two profiles", () => {
  test("says how far they lie apart", () => {
    const document = makeProfile();
    const other: ProfileDocument = {
      ...document,
      units: document.units.map((row) => ({ ...row, p50_ms: row.p50_ms * 1.1, sync_ms: row.sync_ms * 1.1 })),
    };
    const report = buildReport(
      makeInputs({
        profiles: [
          { name: "real", document },
          { name: "synthetic", document: other },
        ],
      }),
    );
    const { sentence, table } = findChart(report, "comparison");
    expect(sentence).toContain("the units differ by 10% on average");
    expect(table.rows[0]?.at(-1)).toBe("1.10x");
  });
});
