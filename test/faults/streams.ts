import type { Coordinator, GenerateRequest, LayerKvHash } from "../../src/cluster/coordinator/index.ts";
import { NoodleError } from "../../src/common/index.ts";

/** A request that a bed runs, with and without a fault. */
export interface Wanted {
  readonly name: string;
  readonly request: GenerateRequest;
}

/** What a client heard. */
export interface Heard {
  readonly name: string;
  readonly tokens: readonly number[];
  /** Their indices as they were told: 0, 1, 2, ... where nothing was lost or doubled. */
  readonly indices: readonly number[];
  /** Monotonic, of each token. */
  readonly timesMs: readonly number[];
  readonly text: string;
  /** Empty where it did not end well. */
  readonly kv: readonly LayerKvHash[];
  readonly error: NoodleError | null;
}

/** Reads a generation to its end, well or not. */
export async function hear(
  coordinator: Coordinator,
  { name, request }: Wanted,
  onEvent: (type: "started" | "token") => void = () => undefined,
  signal: AbortSignal = new AbortController().signal,
): Promise<Heard> {
  const tokens: number[] = [];
  const indices: number[] = [];
  const timesMs: number[] = [];
  let text = "";
  let kv: readonly LayerKvHash[] = [];
  let error: NoodleError | null = null;
  try {
    for await (const event of coordinator.generate(request, signal)) {
      if (event.type === "token") {
        timesMs.push(performance.now());
        tokens.push(event.tokenId);
        indices.push(event.index);
        text += event.text;
      } else if (event.type === "done") {
        kv = event.kv;
      }
      if (event.type === "token" || event.type === "started") onEvent(event.type);
    }
  } catch (thrown) {
    error = NoodleError.from(thrown);
  }
  return { name, tokens, indices, timesMs, text, kv, error };
}

/** In order, none lost, none doubled. */
export function isWhole({ indices }: Heard): boolean {
  return indices.every((index, place) => index === place);
}

export function haveSameKv(a: Heard, b: Heard): boolean {
  return a.kv.length > 0 && JSON.stringify(a.kv) === JSON.stringify(b.kv);
}

export function haveSameTokens(a: Heard, b: Heard): boolean {
  return a.text === b.text && a.tokens.join() === b.tokens.join();
}

/**
 * From `sinceMs` to the end of the longest pause behind it.
 *
 * @returns null where nothing came behind it
 */
export function findNextTokenMs({ timesMs }: Heard, sinceMs: number): number | null {
  let longestMs = -1;
  let endMs: number | null = null;
  for (const [index, timeMs] of timesMs.entries()) {
    if (timeMs < sinceMs) continue;
    const pauseMs = timeMs - Math.max(sinceMs, timesMs[index - 1] ?? sinceMs);
    if (pauseMs <= longestMs) continue;
    longestMs = pauseMs;
    endMs = timeMs;
  }
  return endMs === null ? null : endMs - sinceMs;
}

const sampling = { topP: 1, minP: 0, repeatPenalty: 1 };

/** Greedy, sampled and bound to a grammar, each of so many tokens. */
export function makeWanted(maxTokens: number, prompts: readonly [string, string, string] = PROMPTS): readonly Wanted[] {
  const common = { maxTokens, ignoreEos: true, wantKvHashes: true };
  return [
    { name: "greedy", request: { ...common, prompt: prompts[0] } },
    {
      name: "sampled",
      request: {
        ...common,
        prompt: prompts[1],
        sampling: { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.02, repeatPenalty: 1.1, seed: 42 },
      },
    },
    {
      name: "grammar",
      request: {
        ...common,
        prompt: prompts[2],
        sampling: {
          ...sampling,
          temperature: 0.7,
          topK: 0,
          seed: 7,
          grammar: 'root ::= word (" " word)*\nword ::= [a-z]{2,9}',
        },
      },
    },
  ];
}

const PROMPTS = ["Once upon a time", "The little dog", "A list of words:"] as const;
