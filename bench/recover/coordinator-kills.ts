import { quantile } from "../../src/common/index.ts";
import { makeRandom } from "../../src/shaper/index.ts";
import { areNext, readStream, readTexts, Served, type StreamEvent } from "../../test/faults/served.ts";
import type { BenchContext } from "../lib.ts";
import { makeLoad } from "./load.ts";
import { prepareTypedModels } from "./models.ts";

const bench = "recover";
const MOST_BACK_MS = 2000;
const LEAST_KILLS = 50;
const STREAMS = 2;
const LIMIT_MS = 60_000;

interface Body {
  readonly prompt: readonly number[];
  readonly max_tokens: number;
  readonly stream: true;
  readonly ignore_eos: true;
  readonly timings: false;
  readonly temperature: number;
  readonly seed: number;
}

/**
 * SIGKILL of the coordinator, which is started again at once, at random moments of two streams: when its API takes
 * requests again, when the next token is there, and whether what its clients have read is what they would have read.
 */
export async function benchCoordinatorKills(context: BenchContext): Promise<void> {
  const [model] = await prepareTypedModels(context);
  if (model === undefined) return;
  const args = ["--journal", "--context", "512", "--determinism", "strict"];
  await using served = await Served.start({ model: model.path, args });
  const random = makeRandom(3, "coordinator");
  const bodies = makeLoad(STREAMS, { promptTokens: 150, maxTokens: 100, vocab: 4096 }).map(
    ({ request }, index): Body => ({
      prompt: request.prompt as readonly number[],
      max_tokens: request.maxTokens,
      stream: true,
      ignore_eos: true,
      timings: false,
      temperature: index,
      seed: 7,
    }),
  );
  const startMs = performance.now();
  const alone = await Promise.all(bodies.map((body) => readAnswer(served, body)));
  const tookMs = performance.now() - startMs;
  const kills = Math.max(LEAST_KILLS, context.kills);
  const backMs: number[] = [];
  const nextMs: number[] = [];
  let lost = 0;
  for (let kill = 0; kill < kills; kill++) {
    const firsts = bodies.map((body) => readAnswer(served, body));
    await new Promise((resolve) => setTimeout(resolve, tookMs * (0.05 + 0.85 * random())));
    const killMs = performance.now();
    await served.killCoordinator();
    const heard = await Promise.all(firsts);
    served.startCoordinator();
    await served.until("the API is back", LIMIT_MS, () => served.get("/live"));
    const value = performance.now() - killMs;
    backMs.push(value);
    context.record({ bench, subject: model.name, metric: "API back ms", unit: "ms", value, repetition: kill });
    const wholes = await Promise.all(
      heard.map(async (first, index) => {
        const last = first.at(-1);
        // Nothing of it was told yet, or all: there is nothing to go on with.
        if (last === undefined || last.data === "[DONE]") return first;
        const rest = await goOn(served, bodies[index], last.id);
        const [next] = rest;
        if (next !== undefined) {
          nextMs.push(next.atMs - killMs);
          const at = { value: next.atMs - killMs, repetition: kill };
          context.record({ bench, subject: model.name, metric: "coordinator next token ms", unit: "ms", ...at });
        }
        return [...first, ...rest];
      }),
    );
    for (const [index, whole] of wholes.entries()) {
      if (whole.length === 0) continue;
      const isSame = areNext(whole) && readTexts(whole).join() === readTexts(alone[index] ?? []).join();
      if (isSame) continue;
      lost += 1;
      context.log(`kill ${kill}: ${whole.length} events of ${alone[index]?.length}, in order ${areNext(whole)}`);
    }
    await served.untilReady();
  }
  concludeFigure(context, model.name, "coordinator killed, API back p50 ms", quantile(backMs, 0.5), MOST_BACK_MS);
  concludeFigure(context, model.name, "coordinator killed, API back worst ms", Math.max(...backMs), MOST_BACK_MS);
  concludeFigure(context, model.name, `streams lost or changed in ${kills} kills`, lost, 0);
  context.log(
    `${kills} kills of the coordinator: next token p50 ${Math.round(quantile(nextMs, 0.5))}, worst ${Math.round(Math.max(...nextMs))} ms over ${nextMs.length} streams`,
  );
}

async function readAnswer(served: Served, body: Body): Promise<StreamEvent[]> {
  const response = await served.post("completions", body);
  return response === null ? [] : readStream(response);
}

/** What is behind the last event that a client has, as soon as somebody gives it. */
async function goOn(served: Served, body: Body | undefined, lastId: string): Promise<StreamEvent[]> {
  const answer = await served.until("the rest of a stream", LIMIT_MS, async () => {
    const response = await served.post("completions", body ?? {}, { "last-event-id": lastId });
    if (response?.status === 200) return response;
    await response?.body?.cancel();
    return null;
  });
  return readStream(answer);
}

function concludeFigure(context: BenchContext, subject: string, name: string, value: number, limit: number): void {
  const ratio = limit === 0 ? value : value / limit;
  context.conclude({
    bench,
    name: `${name}: ${Math.round(value)}`,
    subject,
    baseline: `limit ${limit}`,
    ratio,
    low: ratio,
    high: ratio,
    goal: limit === 0 ? "<= 0" : "<= 1",
    met: value <= limit,
  });
}
