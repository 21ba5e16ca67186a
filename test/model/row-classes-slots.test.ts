import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GREEDY, probeRowClasses, type RowRun, type Stage } from "../../src/engine/index.ts";
import { classKey, groupRuns, type RowClasses } from "../../src/schedule/index.ts";
import { CutModel } from "./cut.ts";

/**
 * Decode calls of several sequences and dummy rows, held against the rules that were probed with other calls. One row is
 * computed again and again behind the same keys and values, in ever other company: wherever the key of its class is
 * equal, its own keys, values and logits must have equal bits.
 */
const TYPES = ["q4_0", "q4_k", "f16", "iq4_xs"];
const VOCAB = 320;
const CELL_STEP = 256;
const SLOTS = 18;
/** Slot whose row is watched, and one that has its beginning. */
const WATCHED = 8;
const SOURCE = 17;
/** Sizes and starts of the slots that are computed together with it. */
const COMPANY: readonly (readonly [number, number])[] = [
  [8, 1],
  [8, 2],
  [7, 2],
  [6, 3],
  [8, 3],
  [8, 4],
  [5, 4],
  [7, 5],
  [4, 7],
  [8, 8],
  [1, 8],
  [0, 9],
  [0, 12],
  [1, 16],
];

const tokenAt = (slot: number, position: number): number =>
  5 + ((Math.imul(position + 3 + 977 * slot, 2654435761) >>> 8) % (VOCAB - 5));

function feed(stage: Stage, slot: number, to: number): void {
  for (let at = stage.nextPosition(slot); at < to; at = stage.nextPosition(slot)) {
    const rows = Math.min(50, to - at);
    const tokens = Int32Array.from({ length: rows }, (_, i) => tokenAt(slot, at + i));
    stage.forward({ runs: [{ slot, position: at, rows, output: "none" }], tokens, hidden: null });
  }
}

/** @returns bits of the watched row: keys and values of every block, and logits. */
function computeAmong(
  stage: Stage,
  position: number,
  [first, count]: readonly [number, number],
  pads: boolean,
): string {
  stage.openSlot(WATCHED, GREEDY, { keepTokens: position, copyFrom: SOURCE });
  const company = Array.from({ length: count }, (_, i) => first + i).filter((slot) => slot !== WATCHED);
  const isRun = (slot: number): boolean => !pads || slot % 3 === 0;
  const slots = [WATCHED, ...company.filter(isRun)];
  const { sampled } = stage.forward(
    {
      runs: slots.map((slot) => ({ slot, position: stage.nextPosition(slot), rows: 1, output: "last" })),
      tokens: Int32Array.from(slots, (slot) => tokenAt(slot, slot === WATCHED ? position : 7)),
      hidden: null,
      pads: company.filter((slot) => !isRun(slot)),
    },
    { wantLogits: true },
  );
  const hash = createHash("sha256");
  for (const { kBytes, vBytes } of stage.readKv(WATCHED)) {
    const rowBytes = kBytes.length / (position + 1);
    for (const bytes of [kBytes, vBytes]) hash.update(bytes.subarray(position * rowBytes));
  }
  const logits = sampled.find(({ run }) => run === 0)?.logits ?? new Float32Array();
  hash.update(new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
  for (const slot of slots) stage.truncate(slot, stage.nextPosition(slot) - 1);
  return hash.digest("hex");
}

describe.each(TYPES)("row classes of %s, over slots", (type) => {
  let model: CutModel;
  let classes: RowClasses;
  beforeAll(async () => {
    const shape = { architecture: "llama", layers: 2, embd: 256, heads: 4, kvHeads: 2, ff: 256, vocab: VOCAB };
    model = await CutModel.fromDummy({ ...shape, type, seed: 3 });
    classes = await probeRowClasses(model.path, 2);
  });
  afterAll(() => model.remove());

  it.each([1, 2])(
    "say which decode rows have equal bits, dummy rows and longer neighbours among them (%i threads)",
    async (threads) => {
      const stage = await model.openWhole({ contextTokens: 768, parallel: SLOTS, threads, maxRows: 128 });
      for (let slot = 0; slot < SLOTS; slot++) stage.openSlot(slot, GREEDY);
      // Neighbours on both sides of 256 and 512 positions; some are closed and kept, one is empty.
      for (const [slot, tokens] of [
        [0, 3],
        [1, 300],
        [2, 20],
        [3, 520],
        [6, 260],
        [7, 30],
        [9, 700],
        [12, 5],
      ] as const)
        feed(stage, slot, tokens);
      for (const slot of [1, 7, 10]) stage.closeSlot(slot, true);
      feed(stage, SOURCE, 600);
      let compared = 0;
      for (const position of [255, 256, 520]) {
        const cells = Math.ceil((position + 1) / CELL_STEP) * CELL_STEP;
        const seen = new Map<string, string>();
        for (const company of COMPANY) {
          const place = WATCHED - company[0];
          const key = classKey(classes, { rows: company[1], place, runRows: 1, cells, threads });
          for (const pads of [true, false]) {
            if (
              !pads &&
              company[1] > 1 &&
              [1, 7, 10].some((slot) => slot >= company[0] && slot < company[0] + company[1])
            )
              continue; // a closed slot has no run
            const bits = computeAmong(stage, position, company, pads);
            const known = seen.get(key);
            if (known === undefined) seen.set(key, bits);
            else {
              expect(bits === known, `position ${position}, rows ${company[1]}, place ${place}, key ${key}`).toBe(true);
              compared++;
            }
          }
        }
      }
      expect(compared).toBeGreaterThan(20);
      stage.close();
    },
  );

  it("look at each run's own rows for attention", async () => {
    const stage = await model.openWhole({ contextTokens: 768, parallel: 2, threads: 2, maxRows: 256 });
    const bitsOf = (rows: number, others: number): string => {
      for (const slot of [0, 1]) stage.openSlot(slot, GREEDY);
      feed(stage, 1, 200);
      const runs: RowRun[] = [{ slot: 1, position: 200, rows, output: "none" }];
      if (others > 0) runs.unshift({ slot: 0, position: 0, rows: others, output: "none" });
      expect(groupRuns(runs)).toHaveLength(1);
      const tokens = runs.flatMap((run) =>
        Array.from({ length: run.rows }, (_, i) => tokenAt(run.slot, run.position + i)),
      );
      stage.forward({ runs, tokens: Int32Array.from(tokens), hidden: null });
      const { kBytes = new Uint8Array() } = stage.readKv(1).at(-1) ?? {};
      // The first 60 rows: their places in full groups are the same with 4 rows more in front.
      const rowBytes = kBytes.length / (200 + rows);
      return Buffer.from(kBytes.subarray(200 * rowBytes, 260 * rowBytes)).toString("latin1");
    };
    // 60 + 60 rows are a call of 120 rows, and no run of 64.
    expect(bitsOf(60, 60) === bitsOf(60, 0)).toBe(true);
    expect(bitsOf(64, 64) === bitsOf(64, 0)).toBe(true);
    expect(bitsOf(64, 64) === bitsOf(60, 60)).toBe(classes.attention.tiledRows !== 64);
    stage.close();
  });
});
