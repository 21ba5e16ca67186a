import { describe, expect, it } from "vitest";
import { type Cell, formatCell, orderCells } from "./cells.ts";
import { SeededRandom } from "./random.ts";
import { Scheduler, type Visit } from "./scheduler.ts";

const MIN_SAMPLES = 5;
const CELLS = orderCells({ prefillRows: [16, 256], decodeRows: [1, 4, 16], contexts: [0, 2048] });
const FACTS = { weightsBytes: 1e9, kvBytesPerToken: 1e5 };

interface Played {
  readonly elapsedMs: number;
  readonly on: ReadonlyMap<string, number>;
  readonly order: readonly Visit[];
  readonly skipped: Scheduler["skipped"];
}

/** Plays a run on a machine where a step takes what `stepMs` says, each warm-up a step or two more. */
function play(budgetMs: number | null, stepMs: (cell: Cell, random: SeededRandom) => number, seed = 7): Played {
  const random = new SeededRandom(seed);
  const noise = new SeededRandom(seed + 1);
  const scheduler = new Scheduler({ cells: CELLS, budgetMs, facts: FACTS, random });
  const on = new Map<string, number>();
  const order: Visit[] = [];
  let elapsedMs = 0;
  for (let turns = 0; turns < 100_000; turns++) {
    const visit = scheduler.next(elapsedMs);
    if (visit === null) return { elapsedMs, on, order, skipped: scheduler.skipped };
    order.push(visit);
    const firstMs = stepMs(visit.cell, noise);
    if (visit.warmUp !== "none" && firstMs > visit.giveUpMs) {
      elapsedMs += firstMs;
      scheduler.record(visit, { onMs: [], offMs: [], gaveUpMs: firstMs, wallMs: firstMs });
      continue;
    }
    const discarded = { run: 3, cell: 2, turn: 1, none: 0 }[visit.warmUp] * stepMs(visit.cell, noise);
    const times = visit.steps.map((isOn) => ({ isOn, ms: stepMs(visit.cell, noise) }));
    const onMs = times.filter(({ isOn }) => isOn).map(({ ms }) => ms);
    const offMs = times.filter(({ isOn }) => !isOn).map(({ ms }) => ms);
    const wallMs = discarded + times.reduce((sum, { ms }) => sum + ms, 0);
    elapsedMs += wallMs;
    scheduler.record(visit, { onMs, offMs, gaveUpMs: null, wallMs });
    const key = formatCell(visit.cell);
    on.set(key, (on.get(key) ?? 0) + onMs.length);
  }
  throw new Error("the run has no end");
}

const linear = ({ rows, phase }: Cell): number => (phase === "decode" ? 5 + rows : 5 + rows / 3);
const noisy = (cell: Cell, random: SeededRandom): number => linear(cell) * (1 + 0.05 * random.next());

describe("Scheduler", () => {
  it("ends when every cell is known well, long before a budget that is large", () => {
    const { elapsedMs, on, skipped } = play(3_600_000, noisy);
    expect(skipped).toEqual([]);
    expect(on.size).toBe(CELLS.length);
    for (const count of on.values()) expect(count).toBeGreaterThanOrEqual(20);
    expect(elapsedMs).toBeLessThan(600_000);
  });

  it("ends without a budget too", () => {
    expect(play(null, noisy).skipped).toEqual([]);
  });

  it.each([400, 1000, 3000, 10_000])("keeps a budget of %i ms, and gives what it shows enough samples", (budgetMs) => {
    const { elapsedMs, on, skipped } = play(budgetMs, noisy);
    expect(elapsedMs).toBeLessThan(budgetMs * 1.1 + 300);
    for (const cell of CELLS) {
      const count = on.get(formatCell(cell)) ?? 0;
      const isSkipped = skipped.some((skip) => formatCell(skip) === formatCell(cell));
      expect(isSkipped).toBe(count < MIN_SAMPLES);
    }
  });

  it("measures the most important cell however short the budget is", () => {
    const { on, skipped } = play(1, linear);
    expect(on.get("decode 1 row at context 0")).toBeGreaterThanOrEqual(MIN_SAMPLES);
    expect(skipped.length).toBeGreaterThan(0);
    for (const { reason } of skipped) expect(reason).toContain("budget");
  });

  it("leaves out a cell that is far too slow and measures those behind it", () => {
    const { on, skipped } = play(5000, (cell) => (cell.phase === "prefill" && cell.rows === 256 ? 4000 : 10));
    expect(skipped.map(({ rows }) => rows)).toContain(256);
    expect(on.get("decode 4 rows at context 0")).toBeGreaterThanOrEqual(MIN_SAMPLES);
  });

  it("spreads a cell's samples over the run, and mixes steps with hooks and without", () => {
    const { order } = play(60_000, noisy);
    const turns = order.filter((visit) => formatCell(visit.cell) === "decode 1 row at context 0");
    expect(turns.length).toBeGreaterThanOrEqual(8);
    const steps = turns.flatMap((visit) => visit.steps);
    expect(steps.filter(Boolean)).toHaveLength((steps.length + 3) / 2); // the first turn has three more with than without
    expect(turns.some((visit) => visit.steps[0] === false)).toBe(true);
  });

  it("visits the cells of each round in another order, the same for the same seed", () => {
    const names = (seed: number): string[] => play(60_000, linear, seed).order.map(({ cell }) => formatCell(cell));
    expect(names(3)).toEqual(names(3));
    expect(names(3)).not.toEqual(names(4));
  });
});
