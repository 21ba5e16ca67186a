import { NoodleError } from "../common/index.ts";
import { expOf } from "./elementary.ts";
import { Random } from "./random.ts";
import type { SimRequest, Workload } from "./types.ts";

/** How many tokens a prompt or an answer has. */
export type TokenCount =
  | { readonly type: "fixed"; readonly tokens: number }
  | { readonly type: "uniform"; readonly min: number; readonly max: number }
  /** `sigma` of the logarithm. */
  | { readonly type: "lognormal"; readonly median: number; readonly sigma: number; readonly max: number };

export interface GeneratedWorkload {
  readonly requests: number;
  readonly prompt: TokenCount;
  readonly generated: TokenCount;
  /** So many clients, each with one request at a time; or so many requests per second, independent of one another. */
  readonly arrivals:
    | { readonly type: "closed"; readonly streams: number; readonly thinkMs?: number }
    | { readonly type: "poisson"; readonly perSecond: number };
  /** @default 1 */
  readonly seed?: number;
}

const MOST_REQUESTS = 5_000_000;

/** Makes up a workload. The lengths of a request depend on the seed and its number alone. @throws SIMULATION_INVALID */
export function generateWorkload(options: GeneratedWorkload): Workload {
  const { requests: count, prompt, generated, arrivals, seed = 1 } = options;
  if (!Number.isInteger(count) || count < 1 || count > MOST_REQUESTS)
    throw new NoodleError("SIMULATION_INVALID", `${count} requests, from 1 to ${MOST_REQUESTS} can be made`);
  const rate = arrivals.type === "closed" ? arrivals.streams : arrivals.perSecond;
  if (!(rate > 0 && Number.isFinite(rate)))
    throw new NoodleError("SIMULATION_INVALID", `${rate} streams or requests per second, it must be above 0`);
  const lengths = { prompt: new Random(seed, "prompt tokens"), generated: new Random(seed, "generated tokens") };
  const times = new Random(seed, "arrivals");
  const requests: SimRequest[] = [];
  let nowMs = 0;
  for (let i = 0; i < count; i++) {
    const promptTokens = drawTokens(prompt, lengths.prompt);
    const genTokens = drawTokens(generated, lengths.generated);
    if (arrivals.type === "poisson") {
      nowMs += times.exponential(1000 / arrivals.perSecond);
      requests.push({ atMs: nowMs, promptTokens, genTokens, client: "open" });
    } else {
      const first = i < arrivals.streams;
      const client = `s${i % arrivals.streams}`;
      requests.push({ atMs: first ? 0 : (arrivals.thinkMs ?? 0), promptTokens, genTokens, client });
    }
  }
  return { loop: arrivals.type === "closed" ? "closed" : "open", requests };
}

function drawTokens(count: TokenCount, random: Random): number {
  switch (count.type) {
    case "fixed":
      return count.tokens;
    case "uniform":
      return random.integer(count.min, count.max);
    case "lognormal": {
      const drawn = Math.round(count.median * expOf(count.sigma * random.normal()));
      return Math.min(count.max, Math.max(1, drawn));
    }
  }
}
