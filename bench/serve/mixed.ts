import { median, quantile } from "../../src/common/index.ts";
import type { BenchContext, Sample } from "../lib.ts";
import { prepareModel } from "../models.ts";
import { type ClientTimes, complete } from "./client.ts";
import { prompt, STREAMS } from "./prompts.ts";
import { type ServerShape, startNoodle } from "./servers.ts";

const bench = "serve-mixed";

/** Inter-token latency of streams while a long prompt is read beside them, against the same streams alone. */
export async function benchServeMixed(context: BenchContext): Promise<void> {
  const shape: ServerShape = { model: await prepareModel(context), contextTokens: 2304, parallel: STREAMS };
  const samples: Sample[] = [];
  for (const determinism of ["recorded", "strict"] as const) {
    const more = ["--determinism", determinism];
    const server = await startNoodle(`noodle 2x1 ${determinism}`, shape, { workers: 2, threads: 1, more });
    try {
      for (let repetition = -1; repetition < context.repetitions; repetition++) {
        const streams = Array.from({ length: STREAMS - 1 }, (_, stream) =>
          complete(server.url, { model: server.model, prompt: prompt(128, repetition, stream), maxTokens: 160 }),
        );
        await new Promise((resolve) => setTimeout(resolve, 6000));
        const long = complete(server.url, { model: server.model, prompt: prompt(2000, repetition, 50), maxTokens: 2 });
        const { sentMs, endMs } = await long;
        const times = await Promise.all(streams);
        const gaps = times.flatMap((time) => gapsWithEnds(time));
        const beside = gaps.filter(({ endedMs }) => endedMs >= sentMs && endedMs <= endMs).map(({ gapMs }) => gapMs);
        const alone = gaps.filter(({ endedMs }) => endedMs < sentMs || endedMs > endMs).map(({ gapMs }) => gapMs);
        if (repetition < 0) continue;
        for (const [metric, value] of [
          ["itl p50 undisturbed ms", quantile(alone, 0.5)],
          ["itl p99 beside a prompt of 2000 ms", quantile(beside, 0.99)],
        ] as const) {
          const sample = { bench, subject: server.name, metric, unit: "ms", value, repetition };
          samples.push(sample);
          context.record(sample);
        }
      }
    } finally {
      await server.close();
    }
    const of = (metric: string): number[] =>
      samples.filter((each) => each.subject === server.name && each.metric === metric).map(({ value }) => value);
    const undisturbed = of("itl p50 undisturbed ms");
    const disturbed = of("itl p99 beside a prompt of 2000 ms");
    const ratios = disturbed.map((value, i) => value / (undisturbed[i] ?? Number.NaN));
    const most = determinism === "recorded" ? 2.5 : (median(undisturbed) + 300) / median(undisturbed);
    context.conclude({
      bench,
      name: "itl p99 beside a prompt of 2000 / p50 undisturbed",
      subject: server.name,
      baseline: `${median(undisturbed).toFixed(1)} ms`,
      ratio: median(ratios),
      low: Math.min(...ratios),
      high: Math.max(...ratios),
      goal: `<= ${most.toFixed(2)}`,
      met: median(ratios) <= most,
    });
  }
}

function gapsWithEnds({ gapsMs, sentMs, ttftMs }: ClientTimes): readonly { gapMs: number; endedMs: number }[] {
  let endedMs = sentMs + ttftMs;
  return gapsMs.map((gapMs) => {
    endedMs += gapMs;
    return { gapMs, endedMs };
  });
}
