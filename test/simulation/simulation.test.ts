import { describe, expect, it } from "vitest";
import { FAULTS } from "./faults.ts";
import { drawScenario } from "./scenario.ts";
import { simulate } from "./simulate.ts";

const FIRST_SEED = 1;
/** More are played by `scripts/replay-seed.ts`; these take some seconds. */
const SEEDS = 600;

describe("the simulated cluster", () => {
  it(`keeps its promises under ${SEEDS} seeds`, { timeout: 240_000 }, async () => {
    const outcomes = new Map<string, number>();
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      const result = await simulate(seed);
      for (const outcome of result.outcomes) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      expect(result.violations, `npx tsx scripts/replay-seed.ts ${seed}`).toEqual([]);
    }
    // What always fails, or never does, would prove nothing.
    for (const outcome of ["complete", "cancelled", "DEADLINE_EXCEEDED"]) {
      expect(outcomes.get(outcome), outcome).toBeGreaterThan(10);
    }
  });

  it("plays the same under the same seed", async () => {
    const [first, second] = [await simulate(17, true), await simulate(17, true)];
    expect(first.log.length).toBeGreaterThan(5);
    expect(second.log).toEqual(first.log);
    expect(second.steps).toBe(first.steps);
  });

  it("draws every kind of fault", () => {
    const drawn = new Set<string>();
    for (let seed = 0; seed < 300; seed++) for (const { name } of drawScenario(seed).faults) drawn.add(name);
    expect([...drawn].sort()).toEqual(Object.keys(FAULTS).sort());
  });
});
