import { median } from "../../src/common/index.ts";
import { Bed } from "../../test/faults/bed.ts";
import { hear } from "../../test/faults/streams.ts";
import { type BenchContext, compare, type Sample } from "../lib.ts";
import { makeLoad } from "./load.ts";
import { prepareTimedModels } from "./models.ts";

const bench = "recover";
const STREAMS = 8;
const WITH = "journal and recovery";
const WITHOUT = "neither";

/** Tokens per second where nothing dies: with the journal and waiting for others, and without both, in turns. */
export async function benchRecoverCost(context: BenchContext): Promise<void> {
  const sizes = { promptTokens: 64, maxTokens: 64, vocab: 30_000 };
  for (const { name, path } of await prepareTimedModels(context)) {
    const common = { contextTokens: 512, parallel: STREAMS, determinism: "recorded" as const };
    await using safe = await Bed.start({ model: path, coordinator: { ...common, journal: true } });
    await using bare = await Bed.start({ model: path, coordinator: { ...common, recoveryWaitMs: 0 } });
    const beds = [
      { subject: WITH, bed: safe },
      { subject: WITHOUT, bed: bare },
    ];
    for (const streams of [1, STREAMS]) {
      const metric = `${name}, ${streams} stream(s), tokens_per_sec`;
      const samples: Sample[] = [];
      for (let repetition = -1; repetition < context.repetitions; repetition++) {
        for (const { subject, bed } of repetition % 2 === 0 ? beds : beds.toReversed()) {
          const load = makeLoad(streams, sizes, 0).map(({ name: who, request: { wantKvHashes: _no, ...request } }) => ({
            name: who,
            request: { ...request, cachePrompt: false },
          }));
          const heard = await Promise.all(load.map((wanted) => hear(bed.coordinator, wanted)));
          const spans = heard.map(({ timesMs }) => {
            const seconds = ((timesMs.at(-1) ?? 0) - (timesMs[0] ?? 0)) / 1000;
            return (timesMs.length - 1) / seconds;
          });
          const value = streams === 1 ? (spans[0] ?? 0) : streams * median(spans);
          const sample = { bench, subject, metric, unit: "tokens_per_sec", value, repetition };
          if (repetition < 0) continue;
          samples.push(sample);
          context.record(sample);
        }
      }
      compare(context, samples, { bench, metric, subject: WITH, baseline: WITHOUT }, { least: 0.98 });
    }
  }
}
