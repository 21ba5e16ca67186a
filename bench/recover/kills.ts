import { must } from "../../src/common/index.ts";
import { makeRandom } from "../../src/shaper/index.ts";
import { Bed, type BedOptions } from "../../test/faults/bed.ts";
import { ENDED_BEFORE, runUndisturbed, strike } from "../../test/faults/strike.ts";
import type { Wanted } from "../../test/faults/streams.ts";
import type { Trial } from "../../test/faults/types.ts";
import type { BenchContext } from "../lib.ts";

export interface KillCell {
  /** As its rows call it. */
  readonly name: string;
  readonly bed: BedOptions;
  /** Requests of one kill; they run at once. Kills take them in turn. */
  readonly loads: readonly (readonly Wanted[])[];
  readonly kills: number;
  readonly seed: number;
}

/**
 * Kills a worker that holds a stage at a random moment of the streams, again and again. It is started again and the wanted
 * layout is back before the next one dies: each kill meets the same cluster.
 */
export async function runKills(context: BenchContext, cell: KillCell): Promise<readonly Trial[]> {
  await using bed = await Bed.start(cell.bed);
  const random = makeRandom(cell.seed, cell.name);
  const alone = [];
  for (const wanted of cell.loads) {
    const startMs = performance.now();
    const heard = await runUndisturbed(bed, wanted);
    alone.push({ wanted, heard, tookMs: performance.now() - startMs });
  }
  const trials: Trial[] = [];
  for (let kill = 0; trials.length < cell.kills && kill < 2 * cell.kills; kill++) {
    const { wanted, heard, tookMs } = must(alone[kill % alone.length], "load");
    const stages = bed.coordinator.status().stages.length;
    const stage = Math.floor(random() * stages);
    const afterMs = Math.max(1, 0.8 * tookMs * random());
    const trial = await strike(bed, {
      what: `kill ${kill}, stage ${stage}, after ${Math.round(afterMs)} ms`,
      wanted,
      reference: heard,
      when: { afterMs },
      fault: () => bed.worker(bed.holderOf(stage)).signal("SIGKILL"),
    });
    const isLate = trial.note?.includes(ENDED_BEFORE) === true;
    // A moment behind the end of the streams is no moment of them.
    if (!isLate) trials.push(trial);
    if (!trial.isGood && !isLate) context.log(`${cell.name}: ${trial.what}: ${trial.note ?? "other tokens or KV"}`);
    await bed.revive();
    await bed.untilWhole();
  }
  return trials;
}
