import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GREEDY, probeRowClasses, type Stage } from "../../src/engine/index.ts";
import { classKey, type RowClasses } from "../../src/schedule/index.ts";
import { CutModel } from "./cut.ts";

/**
 * Holds the probe against brute force: texts computed in many random schedules. Positions whose keys agree, and all
 * positions before them, must have equal bits; where keys differ, bits must differ for at least one schedule, so that a
 * probe that tells too much apart is found as well.
 */
const TYPES = ["q4_0", "q4_k", "q6_k", "q8_0", "f16", "iq4_xs", "q4_k_m"];
const LENGTH = 530;
const CELL_STEP = 256;
const VOCAB = 512;

/** A schedule: rows of each call. The first calls bring the context to where the interest lies. */
function makeSchedules(seed: number): number[][] {
  let state = seed;
  const next = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 16) % below;
  };
  const menu = [1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 31, 63, 64, 65, 70, 128];
  return Array.from({ length: 4 }, () => {
    const schedule: number[] = [];
    let left = LENGTH;
    while (left > 0) {
      // Behind 500 positions mostly small calls, to have many of them on both sides of 512 cells.
      const rows = Math.min(left, LENGTH - left > 480 ? 1 + next(4) : (menu[next(menu.length)] ?? 1));
      schedule.push(rows);
      left -= rows;
    }
    return schedule;
  });
}

interface Computed {
  readonly keys: readonly string[];
  /** Bits of K and V of each position, last block: they depend on every earlier position and block. */
  readonly bits: readonly string[];
}

function compute(stage: Stage, schedule: readonly number[], classes: RowClasses, threads: number): Computed {
  stage.openSlot(0, GREEDY);
  const keys: string[] = [];
  let position = 0;
  for (const rows of schedule) {
    const tokens = Int32Array.from(
      { length: rows },
      (_, i) => 5 + ((Math.imul(position + i + 3, 2654435761) >>> 8) % (VOCAB - 5)),
    );
    stage.forward({ runs: [{ slot: 0, position, rows, output: "none" }], tokens, hidden: null });
    const cells = Math.ceil((position + rows) / CELL_STEP) * CELL_STEP;
    for (let place = 0; place < rows; place++) keys.push(classKey(classes, { rows, place, cells, threads }));
    position += rows;
  }
  const layer = stage.readKv(0).at(-1);
  const rowBytes = (layer?.kBytes.length ?? 0) / LENGTH;
  const bits = keys.map((_, i) => {
    const part = (bytes: Uint8Array | undefined): string =>
      Buffer.from(bytes?.subarray(i * rowBytes, (i + 1) * rowBytes) ?? []).toString("latin1");
    return part(layer?.kBytes) + part(layer?.vBytes);
  });
  return { keys, bits };
}

describe.each(TYPES)("row classes of %s", (type) => {
  let model: CutModel;
  let classes: RowClasses;
  beforeAll(async () => {
    model = await CutModel.fromDummy({
      architecture: "llama",
      layers: 2,
      embd: 512,
      heads: 8,
      kvHeads: 4,
      ff: 512,
      vocab: VOCAB,
      type,
      seed: 3,
    });
    classes = await probeRowClasses(model.path, 2);
  });
  afterAll(() => model.remove());

  it.each([1, 2])("say which positions have equal bits, computed with %i threads", async (threads) => {
    const stage = await model.openWhole({ contextTokens: 768, parallel: 1, threads, maxRows: 128 });
    const runs = makeSchedules(threads * 1000 + type.length).map((schedule) =>
      compute(stage, schedule, classes, threads),
    );
    stage.close();
    let agreeing = 0;
    let parted = 0;
    let partedAndDifferent = 0;
    for (const [i, a] of runs.entries()) {
      for (const b of runs.slice(i + 1)) {
        const end = a.keys.findIndex((key, at) => key !== b.keys[at]);
        const equalUntil = end < 0 ? LENGTH : end;
        for (let at = 0; at < equalUntil; at++) expect(a.bits[at] === b.bits[at], `position ${at}`).toBe(true);
        agreeing += equalUntil;
        if (end < 0) continue;
        parted++;
        if (a.bits.slice(end).join() !== b.bits.slice(end).join()) partedAndDifferent++;
      }
    }
    expect(agreeing).toBeGreaterThan(0);
    expect(parted === 0 || partedAndDifferent > 0).toBe(true);
  });

  it("differ between threads exactly for one row alone over many cells", async () => {
    // One row at a time across position 256, where the cells grow from 256 to 512.
    const schedule = [
      ...Array.from({ length: 5 }, () => 50),
      ...Array.from({ length: 10 }, () => 1),
      ...Array.from({ length: 5 }, () => 54),
    ];
    const runs = [];
    for (const threads of [1, 2]) {
      const stage = await model.openWhole({ contextTokens: 768, parallel: 1, threads, maxRows: 128 });
      runs.push(compute(stage, schedule, classes, threads));
      stage.close();
    }
    const [one, two] = runs;
    const firstKey = one?.keys.findIndex((key, i) => key !== two?.keys[i]);
    expect(firstKey).toBe(256);
    expect(one?.bits.slice(0, firstKey)).toEqual(two?.bits.slice(0, firstKey));
    expect(one?.bits.slice(firstKey).join() === two?.bits.slice(firstKey).join()).toBe(false);
  });
});
