import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { classKey, type RowClasses } from "./row-classes.ts";
import { nextSchedule } from "./next-schedule.ts";
import { BASE_POLICY, type SentRun, SimulatedPipeline, type SimulatedRequest } from "./testing.ts";
import type { SchedulePolicy, ScheduleState, WaitingSession } from "./types.ts";

const SEED = 20261123;

function waiting(slot: number, change: Partial<WaitingSession> = {}): WaitingSession {
  return {
    id: `s${slot}`,
    slot,
    client: "",
    priority: 0,
    position: 10,
    waitingRows: 1,
    promptRows: 10,
    allOutputs: false,
    maxRows: null,
    readySince: slot,
    ...change,
  };
}

function schedule(
  sessions: readonly WaitingSession[],
  policy: Partial<SchedulePolicy> = {},
  state: Partial<ScheduleState> = {},
) {
  return nextSchedule({ sessions, inFlight: [], credits: 8, turn: null, ...state }, { ...BASE_POLICY, ...policy });
}

const slotsOf = (batch: { readonly runs: readonly { readonly sessionId: string }[] } | undefined): number[] =>
  (batch?.runs ?? []).map(({ sessionId }) => Number(sessionId.slice(1)));

describe("decode micro-batches", () => {
  it("are as many as may be in flight, of neighbours, of equal size", () => {
    const { batches } = schedule([0, 1, 2, 3, 4, 5, 6, 7].map((slot) => waiting(slot)));
    expect(batches.map(slotsOf)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ]);
    expect(batches.every(({ pads }) => pads.length === 0)).toBe(true);
  });

  it("wait while as many are under way as may be", () => {
    const inFlight = [4, 6].map((slot) => ({ phase: "decode" as const, rows: 2, slots: [slot, slot + 1] }));
    expect(
      schedule(
        [0, 1].map((slot) => waiting(slot)),
        {},
        { inFlight },
      ).batches,
    ).toEqual([]);
  });

  it("take rows of one neighbourhood, so that rows that are apart find together", () => {
    // 1 and 2 are under way together: 0 waits for 1, and 3 for 2.
    const inFlight = [{ phase: "decode" as const, rows: 2, slots: [1, 2] }];
    expect(schedule([waiting(0), waiting(3)], {}, { inFlight }).batches).toEqual([]);
    expect(schedule([0, 1, 2, 3].map((slot) => waiting(slot))).batches.map(slotsOf)).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  it("bridge a small hole with a pad, and leave a large one", () => {
    expect(schedule([waiting(0), waiting(2)], { decodeInFlight: 1 }).batches[0]?.pads).toEqual([1]);
    expect(schedule([waiting(0), waiting(3)], { decodeInFlight: 1 }).batches[0]?.pads).toEqual([]);
    expect(schedule([waiting(0), waiting(3)], { decodeInFlight: 1, maxHole: 2 }).batches[0]?.pads).toEqual([1, 2]);
  });

  it("go to the largest priority first, then to the client whose turn it is, then to who waits longest", () => {
    const one = { decodeInFlight: 1, maxDecodeRows: 1 };
    const rows = [
      waiting(0, { client: "a" }),
      waiting(1, { client: "b" }),
      waiting(2, { client: "a", readySince: -1 }),
    ];
    expect(slotsOf(schedule(rows, one).batches[0])).toEqual([2]);
    const turn = { lastClient: "a", lastPromptClient: null, decodesSincePrefill: 0 };
    expect(slotsOf(schedule(rows, one, { turn }).batches[0])).toEqual([1]);
    const urgent = [...rows, waiting(5, { client: "a", priority: 1 })];
    expect(slotsOf(schedule(urgent, one, { turn }).batches[0])).toEqual([5]);
  });
});

describe("prompt chunks", () => {
  const prompt = (slot: number, rows: number, change: Partial<WaitingSession> = {}): WaitingSession =>
    waiting(slot, { position: 0, waitingRows: rows, promptRows: rows, ...change });

  it("follow one another while nobody decodes, and ask for output of the last row only", () => {
    const { batches } = schedule([prompt(0, 40)]);
    expect(batches.map(({ runs }) => runs.map((run) => [run.position, run.rows, run.output]))).toEqual([
      [[0, 16, "none"]],
      [[16, 16, "none"]],
      [[32, 8, "last"]],
    ]);
  });

  it("are small and alternate with the decode rows of all while others decode", () => {
    const { batches, turn } = schedule([waiting(0), waiting(1), prompt(2, 400)], { leastDecodeRows: 2 });
    expect(batches.map(({ phase, runs }) => [phase, runs.length, runs[0]?.rows])).toEqual([
      ["decode", 2, 1],
      ["prefill", 1, 4],
    ]);
    // Behind a chunk nothing of a prompt leaves before the next decode micro-batch.
    const inFlight = [{ phase: "decode" as const, rows: 1, slots: [0] }];
    expect(schedule([prompt(2, 32)], {}, { turn, inFlight }).batches).toEqual([]);
  });

  it("are longer where many prompts wait beside few that decode", () => {
    const chunkBeside = (decoding: number): number | undefined => {
      const inFlight = [
        { phase: "decode" as const, rows: decoding, slots: Array.from({ length: decoding }, (_, i) => i) },
      ];
      const turn = { lastClient: null, lastPromptClient: null, decodesSincePrefill: 1 };
      return schedule(
        [4, 5, 6].map((slot) => prompt(slot, 400)),
        {},
        { inFlight, turn },
      ).batches[0]?.runs[0]?.rows;
    };
    expect([1, 2, 3, 4].map(chunkBeside)).toEqual([12, 4, 4, 4]);
  });

  it("of a short prompt are a few, also while others decode, and fewer where as many read as decode", () => {
    const turn = { lastClient: null, lastPromptClient: null, decodesSincePrefill: 1 };
    const rowsOf = (rows: number, slots: readonly number[]): number | undefined => {
      const inFlight = [{ phase: "decode" as const, rows: slots.length, slots }];
      return schedule([prompt(2, rows)], { prefillRows: 128 }, { inFlight, turn }).batches[0]?.runs[0]?.rows;
    };
    expect([6, 128, 256, 257].map((rows) => rowsOf(rows, [0, 1]))).toEqual([4, 32, 64, 4]);
    expect([6, 128, 256, 257].map((rows) => rowsOf(rows, [0]))).toEqual([4, 64, 128, 4]);
  });

  it("of several prompts take turns by client, and within a client one is finished first", () => {
    const prompts = [prompt(0, 32, { client: "a" }), prompt(1, 32, { client: "a" }), prompt(2, 32, { client: "b" })];
    const { batches } = schedule(prompts, { stages: 8 });
    expect(batches.map(slotsOf).flat()).toEqual([0, 2, 0, 2, 1, 1]);
  });

  it("of a prompt whose log-probabilities are wanted have all rows as output, in steps that the session allows", () => {
    const { batches } = schedule([prompt(0, 10, { allOutputs: true, maxRows: 4 })]);
    expect(batches.map(({ runs }) => [runs[0]?.rows, runs[0]?.output])).toEqual([
      [4, "all"],
      [4, "all"],
      [2, "all"],
    ]);
  });

  it("of a short prompt are small enough that the stages overlap, not smaller than is worth it", () => {
    const rowsOf = (rows: number, stages: number): number[] =>
      schedule([prompt(0, rows)], { prefillRows: 256, stages }).batches.map(({ runs }) => runs[0]?.rows ?? 0);
    expect(rowsOf(128, 2)).toEqual([32, 32, 32]);
    expect(rowsOf(512, 2)).toEqual([64, 64, 64]);
    expect(rowsOf(128, 1)).toEqual([128]);
    expect(rowsOf(2048, 2)).toEqual([256, 256, 256]);
    const two = schedule([prompt(0, 128), prompt(1, 128)], { prefillRows: 256, stages: 2 });
    expect(two.batches.slice(0, 2).map(({ runs }) => runs[0]?.rows)).toEqual([64, 64]);
  });

  it("in strict end at multiples of the chunk, whoever decodes and wherever reading begins", () => {
    const strict = { determinism: "strict" as const };
    expect(schedule([prompt(0, 40)], strict).batches.map(({ runs }) => runs[0]?.rows)).toEqual([16, 16, 8]);
    const late = prompt(0, 40, { position: 19, waitingRows: 21 });
    expect(schedule([waiting(1), late], strict).batches.map(({ runs }) => runs[0]?.rows)).toEqual([1, 13]);
  });
});

describe("strict decode rows", () => {
  const strict = { determinism: "strict", align: 4 } as const;

  it("stand in whole blocks, idle and busy neighbours padded", () => {
    const { batches } = schedule([waiting(1), waiting(6)], strict);
    expect(batches.map((batch) => [slotsOf(batch), batch.pads])).toEqual([
      [[1], [0, 2, 3]],
      [[6], [4, 5, 7]],
    ]);
  });

  it("of slots that do not come out even reach back for a whole block", () => {
    const { batches } = schedule([waiting(4), waiting(5)], { ...strict, slots: 6 });
    expect(batches.map((batch) => [slotsOf(batch), batch.pads])).toEqual([
      [
        [4, 5],
        [2, 3],
      ],
    ]);
    expect(schedule([waiting(1)], { ...strict, slots: 3 }).batches[0]?.pads).toEqual([0, 2]);
  });

  it("are never alone over a context that attention would split", () => {
    const pairs = { determinism: "strict", pairFromCells: 257 } as const;
    const long = { position: 256, promptRows: 5 };
    expect(schedule([waiting(3, { ...long, position: 255 })], pairs).batches[0]?.pads).toEqual([]);
    expect(schedule([waiting(3, long)], pairs).batches[0]?.pads).toEqual([4]);
    expect(schedule([waiting(7, long)], pairs).batches[0]?.pads).toEqual([6]);
    expect(schedule([waiting(3, long), waiting(4)], { ...pairs, decodeInFlight: 1 }).batches[0]?.pads).toEqual([]);
  });
});

describe("arranged steps", () => {
  it("leave alone and as they are, one for each call", () => {
    const arranged = { rows: 1, pads: [3, 4] };
    const { batches } = schedule([waiting(2, { arranged }), waiting(5)]);
    expect(batches.map((batch) => [slotsOf(batch), batch.pads])).toEqual([
      [[2], [3, 4]],
      [[5], []],
    ]);
    const chunk = waiting(0, { position: 0, waitingRows: 10, arranged: { rows: 3, pads: [] } });
    expect(schedule([chunk]).batches.map(({ runs }) => runs[0]?.rows)).toEqual([3]);
  });
});

/** A load: who joins after how many answers. */
const load = fc.array(
  fc.record({
    after: fc.nat(12),
    slotSeed: fc.nat(1000),
    client: fc.constantFrom("a", "b", "c"),
    priority: fc.constantFrom(0, 0, 0, 1),
    promptRows: fc.integer({ min: 1, max: 60 }),
    newTokens: fc.nat(12),
  }),
  { minLength: 1, maxLength: 14 },
);

type Load = readonly {
  after: number;
  slotSeed: number;
  client: string;
  priority: number;
  promptRows: number;
  newTokens: number;
}[];

/** Runs a load to its end, every request in a free slot of its seed's choice. */
function runLoad(policy: SchedulePolicy, requests: Load, credits = 4, first?: SimulatedRequest): SimulatedPipeline {
  const pipeline = new SimulatedPipeline(policy, credits);
  if (first !== undefined) pipeline.join(first);
  for (const [index, { after, slotSeed, ...request }] of requests.entries()) {
    for (let answers = 0; answers < after; answers++) pipeline.answer();
    while (pipeline.freeSlots.length === 0) pipeline.answer();
    const free = pipeline.freeSlots;
    pipeline.join({ id: `r${index}`, slot: must(free[slotSeed % free.length], "free slot"), ...request });
  }
  pipeline.finish();
  return pipeline;
}

const runsOf = (pipeline: SimulatedPipeline, id: string): readonly SentRun[] =>
  pipeline.sent.filter(({ sessionId }) => sessionId === id);

const policies: readonly SchedulePolicy[] = [
  BASE_POLICY,
  { ...BASE_POLICY, decodeInFlight: 3, maxDecodeRows: 3, slots: 7 },
  { ...BASE_POLICY, determinism: "strict", align: 4 },
  { ...BASE_POLICY, determinism: "strict", align: 2, slots: 5, pairFromCells: 20, stages: 3 },
];

describe("under any load", () => {
  it("every row is sent once and in order, and no more is under way than may be", () => {
    fc.assert(
      fc.property(fc.constantFrom(...policies), load, fc.integer({ min: 1, max: 6 }), (policy, requests, credits) => {
        const pipeline = runLoad(policy, requests, credits);
        expect(pipeline.mostDecodesInFlight).toBeLessThanOrEqual(policy.decodeInFlight);
        for (const [index, { promptRows, newTokens }] of requests.entries()) {
          let position = 0;
          for (const run of runsOf(pipeline, `r${index}`)) {
            expect(run.position).toBe(position);
            position += run.rows;
            expect(run.phase).toBe(run.position < promptRows ? "prefill" : "decode");
            expect(run.output).toBe(position >= promptRows ? "last" : "none");
          }
          expect(position).toBe(promptRows + newTokens);
        }
        for (const { phase, runs, pads } of pipeline.batches) {
          if (phase === "prefill") expect(runs).toHaveLength(1);
          expect(new Set(runs.map(({ sessionId }) => sessionId)).size).toBe(runs.length);
          expect(pads.every((pad) => pad >= 0 && pad < policy.slots)).toBe(true);
          expect(new Set(pads).size).toBe(pads.length);
          if (phase === "decode") expect(runs.length).toBeLessThanOrEqual(policy.maxDecodeRows);
        }
      }),
      { seed: SEED, numRuns: 100 },
    );
  });

  it("no decode row waits for more micro-batches than there are slots, twice over, and no prompt stands still", () => {
    fc.assert(
      fc.property(fc.constantFrom(...policies), load, (policy, requests) => {
        const even = requests.map((request) => ({ ...request, priority: 0 }));
        const pipeline = runLoad(policy, even);
        for (const index of requests.keys()) {
          const runs = runsOf(pipeline, `r${index}`);
          for (const [at, run] of runs.entries()) {
            const before = runs[at - 1];
            if (before === undefined || run.phase === "prefill") continue;
            expect(run.batch - before.batch).toBeLessThanOrEqual(4 * policy.slots);
          }
        }
      }),
      { seed: SEED, numRuns: 80 },
    );
  });

  it("at most one chunk stands between two decode micro-batches of those that decode", () => {
    fc.assert(
      fc.property(load, (requests) => {
        const pipeline = runLoad(BASE_POLICY, requests);
        for (let at = 1; at + 1 < pipeline.batches.length; at++) {
          const [before, own, behind] = pipeline.batches.slice(at - 1, at + 2);
          if (before?.phase !== "decode" || own?.phase !== "prefill" || behind?.phase !== "prefill") continue;
          // Two in a row behind a decode micro-batch: whoever was in it had nothing left to decode.
          const ids = before.runs.map(({ sessionId }) => sessionId);
          const later = pipeline.sent.filter(({ batch, sessionId }) => batch > at && ids.includes(sessionId));
          expect(later).toEqual([]);
        }
      }),
      { seed: SEED, numRuns: 80 },
    );
  });
});

describe("strict", () => {
  const classes = (kind: "full-groups" | "rows-at-least", count: number): RowClasses => ({
    schema: "noodle.row_classes.v1",
    engine_build: "b",
    cpu_variant: "v",
    threads: 2,
    probe_ms: 1,
    weights: [
      {
        type: "t",
        experts: false,
        rule: kind === "full-groups" ? { kind, group: count } : { kind, rows: count },
      },
    ],
    attention: { tiledRows: 64, splitCells: 32, cellStep: 16 },
  });

  it("gives each position of a request the class that it has alone, whatever else runs and in whatever slot", () => {
    const request = { client: "me", promptRows: 21, newTokens: 30 };
    const shapes = [
      { stage: classes("full-groups", 4), align: 4, slots: 8 },
      { stage: classes("full-groups", 4), align: 4, slots: 6 },
      { stage: classes("rows-at-least", 2), align: 2, slots: 8 },
      { stage: classes("full-groups", 8), align: 1, slots: 1 },
    ];
    const keysOf = (pipeline: SimulatedPipeline, stage: RowClasses): readonly string[] =>
      runsOf(pipeline, "me").flatMap((run) =>
        Array.from({ length: run.rows }, (_, row) => {
          const cells = Math.ceil((run.position + run.rows) / 16) * 16;
          return classKey(stage, { rows: run.callRows, place: run.place + row, cells, threads: 2 });
        }),
      );
    const arbitrary = fc.tuple(fc.constantFrom(...shapes), load, fc.nat(7));
    fc.assert(
      fc.property(arbitrary, ([{ stage, align, slots }, requests, slot]) => {
        const policy = { ...BASE_POLICY, determinism: "strict" as const, align, slots, pairFromCells: 17 };
        const alone = runLoad(policy, [], 4, { id: "me", slot: 0, ...request });
        const among = runLoad(policy, requests, 4, { id: "me", slot: slot % slots, ...request });
        expect(keysOf(among, stage)).toEqual(keysOf(alone, stage));
        const stepsOf = (pipeline: SimulatedPipeline): unknown =>
          runsOf(pipeline, "me").map(({ position, rows }) => [position, rows]);
        expect(stepsOf(among)).toEqual(stepsOf(alone));
      }),
      { seed: SEED, numRuns: 100 },
    );
  });
});
