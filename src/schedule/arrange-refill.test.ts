import * as fc from "fast-check";
import { expect, it } from "vitest";
import { arrangeRefill } from "./arrange-refill.ts";
import { stageClassKey } from "./call-class.ts";
import { ClassNotesBuilder, placeRuns, splitCalls } from "./class-notes.ts";
import type { RowClasses, RowRule } from "./row-classes.ts";
import type { ClassNotes } from "./types.ts";

const SLOTS = 8;

function stage(rule: RowRule, threads = 1): RowClasses {
  return {
    schema: "noodle.row_classes.v1",
    engine_build: "b",
    cpu_variant: "v",
    threads,
    probe_ms: 1,
    weights: [{ type: "t", experts: false, rule }],
    attention: { tiledRows: 64, splitCells: 64, cellStep: 32 },
  };
}

const UNIFORM = stage({ kind: "uniform" });
const GROUPS = stage({ kind: "full-groups", group: 4 });
const PAIRS = stage({ kind: "rows-at-least", rows: 2 });

/** A prompt in chunks, then single rows in company of so many others. */
function note(chunks: readonly number[], companies: readonly number[]): ClassNotes {
  const builder = new ClassNotesBuilder();
  let position = 0;
  for (const rows of chunks) {
    builder.add(position, rows, { callRows: rows, place: 0 });
    position += rows;
  }
  for (const callRows of companies) builder.add(position++, 1, { callRows, place: callRows - 1 });
  return builder.build();
}

it("gives every position its class again, in steps that follow one another", () => {
  const stages = fc.constantFrom([UNIFORM], [GROUPS], [PAIRS], [GROUPS, PAIRS], [stage({ kind: "uniform" }, 2)]);
  const chunks = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 4 });
  const companies = fc.array(fc.integer({ min: 1, max: SLOTS }), { maxLength: 40 });
  fc.assert(
    fc.property(stages, chunks, companies, fc.nat(SLOTS - 1), (classes, prompt, decoded, slot) => {
      const notes = note(prompt, decoded);
      const wanted = notes
        .flatMap(splitCalls)
        .flatMap(({ position, rows, callRows, place, perCall: runRows }) =>
          Array.from({ length: rows }, (_, row) =>
            stageClassKey(classes, { callRows, place: place + row, runRows, endPosition: position + rows }),
          ),
        );
      let next = 0;
      for (const { position, rows, pads } of arrangeRefill(notes, classes, slot, SLOTS, 128)) {
        expect(position).toBe(next);
        const [placed = { callRows: 0, place: 0 }] = placeRuns([{ slot, rows }], pads);
        for (let row = 0; row < rows; row++) {
          const place = placed.place + row;
          const key = stageClassKey(classes, {
            callRows: placed.callRows,
            place,
            runRows: rows,
            endPosition: position + rows,
          });
          expect(key).toBe(wanted[position + row]);
        }
        next += rows;
      }
      expect(next).toBe(wanted.length);
    }),
    { seed: 20261123, numRuns: 100 },
  );
});

it("takes few steps where the classes allow it, and leaves the last as it was", () => {
  const alone = note(
    [40],
    Array.from({ length: 200 }, () => 1),
  );
  const steps = arrangeRefill(alone, [UNIFORM], 2, SLOTS, 128);
  expect(steps.map(({ rows }) => rows)).toEqual([60, 60, 60, 32, 16, 8, 3, 1]);
  expect(steps.at(-1)).toEqual({ position: 239, rows: 1, pads: [] });
  // Without known classes only the very calls will do.
  expect(arrangeRefill(alone, [], 2, SLOTS, 128)).toHaveLength(201);
  // Rows in company of three are in full groups, those alone are not.
  const mixed = note([8], [4, 4, 4, 4, 1, 1, 1, 1]);
  expect(arrangeRefill(mixed, [GROUPS], 3, SLOTS, 128).map(({ rows }) => rows)).toEqual([8, 4, 3, 1]);
});
