import { must, quantile } from "../../src/common/index.ts";
import { Bed } from "../../test/faults/bed.ts";
import { shiftSplit, WITHOUT_TERMS } from "../../test/faults/plans.ts";
import { haveSameKv, haveSameTokens, hear, isWhole } from "../../test/faults/streams.ts";
import { runUndisturbed } from "../../test/faults/strike.ts";
import type { BenchContext } from "../lib.ts";
import { makeLoad } from "./load.ts";
import { prepareTimedModels } from "./models.ts";

const bench = "recover";
const STREAMS = 8;
/** Beyond what reading the history again takes. */
const STALL_LIMIT_MS = 1000;
/** Another split in the middle of eight streams: how long each stands still, and that it says what it would have said. */
export async function benchRepartition(context: BenchContext): Promise<void> {
  const sizes = { promptTokens: 300, maxTokens: 160, vocab: 30_000 };
  for (const { name, path } of await prepareTimedModels(context)) {
    const coordinator = { contextTokens: 512, parallel: STREAMS, determinism: "strict" as const };
    await using bed = await Bed.start({ model: path, hasSharedData: true, coordinator });
    const wanted = makeLoad(STREAMS, sizes);
    const alone = await runUndisturbed(bed, wanted);
    const first = must(bed.coordinator.status().plan ?? undefined, "plan");
    const splits = [shiftSplit(first.split, -1), first.split];
    const stalls: number[] = [];
    const beyond: number[] = [];
    let failed = 0;
    for (let repetition = 0; repetition < context.repetitions; repetition++) {
      const split = must(splits[repetition % 2], "split");
      const order = first.order.map((node) => node ?? "");
      const toldBefore = bed.told.length;
      let tokens = 0;
      let askedMs = 0;
      const ask = (): void => {
        if (++tokens !== STREAMS * 30) return;
        askedMs = performance.now();
        bed.coordinator.replan({ split, order, terms: WITHOUT_TERMS, modelHeaderSha256: null }, "bench");
      };
      const heard = await Promise.all(
        wanted.map((each) => hear(bed.coordinator, each, (type) => (type === "token" ? ask() : undefined))),
      );
      for (const [index, each] of heard.entries()) {
        const reference = must(alone[index], "undisturbed run");
        const isSame = isWhole(each) && haveSameTokens(each, reference) && haveSameKv(each, reference);
        if (!isSame) failed += 1;
        const gaps = each.timesMs.slice(1).map((ms, at) => (ms < askedMs ? 0 : ms - must(each.timesMs[at], "time")));
        const value = Math.max(0, ...gaps);
        stalls.push(value);
        context.record({ bench, subject: name, metric: "repartition stall ms", unit: "ms", value, repetition });
      }
      for (const { event } of bed.told.slice(toldBefore)) {
        if (event?.name !== "session.moved") continue;
        const { stall_ms, refill_ms } = event.details;
        if (typeof stall_ms === "number") beyond.push(stall_ms - (typeof refill_ms === "number" ? refill_ms : 0));
      }
      await bed.untilWhole();
    }
    context.log(`${name}: stall p50 ${quantile(stalls, 0.5).toFixed(0)}, p99 ${quantile(stalls, 0.99).toFixed(0)} ms`);
    const conclude = (what: string, value: number, limit: number): void => {
      context.conclude({
        bench,
        name: what,
        subject: `${name}: ${Math.round(value)}`,
        baseline: `limit ${limit}`,
        ratio: value,
        low: Math.min(...stalls),
        high: Math.max(...stalls),
        goal: `<= ${limit}`,
        met: value <= limit,
      });
    };
    conclude(
      `repartition of ${STREAMS} streams, stall p99 beyond the replay, ms`,
      quantile(beyond, 0.99),
      STALL_LIMIT_MS,
    );
    conclude(`repartition, streams that failed or said something else`, failed, 0);
  }
}
