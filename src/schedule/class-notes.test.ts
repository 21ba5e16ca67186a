import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arrangeReplay } from "./arrange-replay.ts";
import { stageClassKey } from "./call-class.ts";
import { ClassNotesBuilder, cutNotes, placeRuns, splitCalls } from "./class-notes.ts";
import { countRecordedReuse, countStrictReuse } from "./count-reuse.ts";
import type { RowClasses, RowRule } from "./row-classes.ts";
import type { ClassNotes } from "./types.ts";

const SEED = 20261123;

function stage(rule: RowRule, tiledRows: number | null = 64): RowClasses {
  return {
    schema: "noodle.row_classes.v1",
    engine_build: "b",
    cpu_variant: "v",
    threads: 2,
    probe_ms: 1,
    weights: [{ type: "t", experts: false, rule }],
    attention: { tiledRows, splitCells: 64, cellStep: 32 },
  };
}

const GROUPS = stage({ kind: "full-groups", group: 4 });
const PAIRS = stage({ kind: "rows-at-least", rows: 2 });
const UNIFORM = stage({ kind: "uniform" });

/** Any history: chunks of a prompt, then single rows among neighbours. */
const histories = fc
  .tuple(
    fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 4 }),
    fc.array(fc.tuple(fc.integer({ min: 1, max: 8 }), fc.nat(7)), { maxLength: 20 }),
  )
  .map(([chunks, singles]) => {
    const calls: { position: number; rows: number; callRows: number; place: number }[] = [];
    let position = 0;
    for (const rows of chunks) {
      calls.push({ position, rows, callRows: rows, place: 0 });
      position += rows;
    }
    for (const [callRows, place] of singles) {
      calls.push({ position, rows: 1, callRows, place: place % callRows });
      position += 1;
    }
    return calls;
  });

function noteAll(calls: ClassNotes): ClassNotes {
  const builder = new ClassNotesBuilder();
  for (const { position, rows, callRows, place } of calls) builder.add(position, rows, { callRows, place });
  return builder.build();
}

describe("class notes", () => {
  it("know a run's place among neighbours and pads", () => {
    const runs = [4, 1, 2].map((slot) => ({ slot, rows: 1 }));
    expect(placeRuns(runs, [3])).toEqual([
      { callRows: 4, place: 3 },
      { callRows: 4, place: 0 },
      { callRows: 4, place: 1 },
    ]);
    expect(placeRuns([{ slot: 3, rows: 9 }], [])).toEqual([{ callRows: 9, place: 0 }]);
  });

  it("merge equal calls, and split into the very same calls again", () => {
    fc.assert(
      fc.property(histories, (calls) => {
        const whole = calls.map((call) => ({ ...call, perCall: call.rows }));
        expect(noteAll(calls).flatMap(splitCalls)).toEqual(whole);
      }),
      { seed: SEED, numRuns: 200 },
    );
    const long = Array.from({ length: 500 }, (_, position) => ({ position, rows: 1, callRows: 4, place: 2 }));
    expect(noteAll(long)).toEqual([{ position: 0, rows: 500, callRows: 4, place: 2, perCall: 1 }]);
  });

  it("of a beginning are the beginning of the notes, and can go on", () => {
    fc.assert(
      fc.property(histories, fc.nat(100), (calls, tokens) => {
        const cut = cutNotes(noteAll(calls), tokens);
        const expected = calls.flatMap((call) => {
          const rows = Math.min(call.rows, tokens - call.position);
          return rows > 0 ? [{ ...call, rows, perCall: call.rows }] : [];
        });
        expect(cut.flatMap(splitCalls)).toEqual(expected);
        const builder = new ClassNotesBuilder(cut);
        builder.add(tokens, 3, { callRows: 3, place: 0 });
        const more = { position: tokens, rows: 3, callRows: 3, place: 0, perCall: 3 };
        if (tokens <= calls.reduce((sum, { rows }) => sum + rows, 0))
          expect(builder.build().flatMap(splitCalls)).toEqual([...expected, more]);
      }),
      { seed: SEED, numRuns: 200 },
    );
  });
});

describe("arrangeReplay", () => {
  it("gives every position its class again, in any slot that has room for it", () => {
    const stages = fc.constantFrom([GROUPS], [PAIRS], [UNIFORM], [GROUPS, PAIRS]);
    fc.assert(
      fc.property(histories, stages, fc.nat(7), (calls, classes, slot) => {
        const keys = new Map<number, string>();
        for (const { position, rows, callRows, place } of calls) {
          for (let row = 0; row < rows; row++) {
            keys.set(
              position + row,
              stageClassKey(classes, { callRows, place: place + row, runRows: rows, endPosition: position + rows }),
            );
          }
        }
        const steps = arrangeReplay(noteAll(calls), classes, slot, 8);
        let next = 0;
        for (const { position, rows, pads } of steps) {
          expect(position).toBe(next);
          next += rows;
          expect(pads.every((pad) => pad >= 0 && pad < 8 && pad !== slot)).toBe(true);
          const [placed] = placeRuns([{ slot, rows }], pads);
          for (let row = 0; row < rows; row++) {
            const { callRows = 0, place = 0 } = placed ?? {};
            const endPosition = position + rows;
            const key = stageClassKey(classes, { callRows, place: place + row, runRows: rows, endPosition });
            expect(key).toBe(keys.get(position + row));
          }
        }
        expect(next).toBe(keys.size);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("refuses what cannot be had here, and notes that make no sense", () => {
    const inGroup = [{ position: 0, rows: 1, callRows: 4, place: 1 }];
    expect(() => arrangeReplay(inGroup, [GROUPS], 0, 3)).toThrow(expect.objectContaining({ code: "USAGE" }));
    const senseless: ClassNotes[] = [
      [{ position: 1, rows: 1, callRows: 1, place: 0 }],
      [{ position: 0, rows: 0, callRows: 1, place: 0 }],
      [{ position: 0, rows: 1, callRows: 1, place: 1 }],
      [{ position: 0, rows: 4, callRows: 1, place: 0, perCall: 0 }],
      [{ position: 0, rows: 0.5, callRows: 1, place: 0 }],
    ];
    for (const notes of senseless)
      expect(() => arrangeReplay(notes, [UNIFORM], 0, 8)).toThrow(expect.objectContaining({ code: "USAGE" }));
  });
});

describe("reuse of what is there", () => {
  /** Positions that reading the whole prompt afresh in chunks gives other classes than reading on from `from`. */
  function differs(
    notes: ClassNotes,
    from: number,
    promptRows: number,
    chunkRows: number,
    classes: readonly RowClasses[],
  ): boolean {
    const keys = (calls: ClassNotes): string[] =>
      calls
        .flatMap(splitCalls)
        .flatMap(({ position, rows, callRows, place, perCall: runRows }) =>
          Array.from({ length: rows }, (_, row) =>
            stageClassKey(classes, { callRows, place: place + row, runRows, endPosition: position + rows }),
          ),
        );
    const read = (start: number): ClassNotes => {
      const calls: { position: number; rows: number; callRows: number; place: number }[] = [];
      for (let position = start; position < promptRows; ) {
        const rows = Math.min(promptRows - position, chunkRows - (position % chunkRows));
        calls.push({ position, rows, callRows: rows, place: 0 });
        position += rows;
      }
      return calls;
    };
    const kept = keys(notes).slice(0, from);
    return keys(read(0)).join("|") !== [...kept, ...keys(read(from))].join("|");
  }

  it("in strict gives the classes that reading the whole prompt afresh gives", () => {
    const stages = fc.constantFrom([GROUPS], [PAIRS], [UNIFORM], [GROUPS, PAIRS], []);
    fc.assert(
      fc.property(histories, stages, fc.nat(60), fc.constantFrom(4, 8, 16, 64), (calls, classes, more, chunkRows) => {
        const notes = noteAll(calls);
        const known = calls.reduce((sum, { rows }) => sum + rows, 0);
        const promptRows = known + 1 + more;
        const from = countStrictReuse(notes, known, promptRows, chunkRows, classes);
        expect(from).toBeLessThanOrEqual(known);
        expect(differs(notes, from, promptRows, chunkRows, classes)).toBe(false);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("in strict takes all where a row's bits never depend on its company", () => {
    const notes = noteAll([
      { position: 0, rows: 20, callRows: 20, place: 0 },
      { position: 20, rows: 1, callRows: 3, place: 1 },
    ]);
    expect(countStrictReuse(notes, 21, 60, 16, [stage({ kind: "uniform" }, null)])).toBe(21);
    expect(countStrictReuse(notes, 21, 60, 16, [GROUPS])).toBe(20);
  });

  it("in recorded leaves out half a call whose rows could not be computed again without the rest", () => {
    const notes = noteAll([
      { position: 0, rows: 64, callRows: 64, place: 0 },
      { position: 64, rows: 66, callRows: 66, place: 0 },
      { position: 130, rows: 1, callRows: 2, place: 0 },
      { position: 131, rows: 1, callRows: 2, place: 0 },
    ]);
    expect(countRecordedReuse(notes, 131, [UNIFORM])).toBe(131);
    expect(countRecordedReuse(notes, 100, [UNIFORM])).toBe(64);
    expect(countRecordedReuse(notes, 128, [UNIFORM])).toBe(128);
    expect(countRecordedReuse(notes, 0, [UNIFORM])).toBe(0);
    expect(countRecordedReuse(notes, 63, [stage({ kind: "uniform" }, null)])).toBe(63);
  });
});
