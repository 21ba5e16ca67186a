import { must } from "../../src/common/index.ts";
import { Bed } from "./bed.ts";
import { shiftSplit, WITHOUT_TERMS } from "./plans.ts";
import { describe } from "./rows-deaths.ts";
import { makeWanted } from "./streams.ts";
import { runUndisturbed, strike } from "./strike.ts";
import type { FaultRow, Lab, Trial } from "./types.ts";

const TOKENS = 110;
/** Behind the order: while the new stages are fetched, loaded, opened, while sessions move, and behind all that. */
const DELAYS_MS = [null, 0, 40, 120, 250, 400, 600, 1000];

/** 25: plans that change. */
export const MOVES: readonly FaultRow[] = [
  {
    row: 25,
    fault: "repartition under load, a worker dies in it",
    how: `another split while three streams run; SIGKILL of a holder ${DELAYS_MS.slice(1).join(", ")} ms behind the order, and none`,
    expected: "the plan is the old one, the new one or one over who is left; every stream as without it",
    run: repartition,
  },
];

async function repartition(lab: Lab): Promise<readonly Trial[]> {
  await using bed = await Bed.start({ model: lab.model });
  const wanted = makeWanted(TOKENS);
  const reference = await runUndisturbed(bed, wanted);
  const trials: Trial[] = [];
  const first = must(bed.coordinator.status().plan ?? undefined, "plan").split;
  for (const [round, delayMs] of DELAYS_MS.entries()) {
    const { split, order } = must(bed.coordinator.status().plan ?? undefined, "plan");
    const names = order.map((node) => node ?? "");
    const trial = await strike(bed, {
      what: delayMs === null ? "nobody dies" : `a holder dies ${delayMs} ms behind the order`,
      wanted,
      reference,
      when: { tokens: 60 },
      fault: async () => {
        const next = { split: split === first ? shiftSplit(first, -2) : first, order: names };
        bed.coordinator.replan({ ...next, terms: WITHOUT_TERMS, modelHeaderSha256: null }, "fault matrix");
        if (delayMs === null) return;
        await new Promise((resolve) => setTimeout(resolve, delayMs));
        bed.worker(bed.holderOf(round % 3)).signal("SIGKILL");
      },
      check: (told) =>
        delayMs === null && !told.some(({ event }) => event?.name === "session.moved") ? "no session moved" : null,
    });
    trials.push(trial);
    lab.log(describe(trials));
    await bed.revive(false);
    await bed.untilWhole();
  }
  return trials;
}
