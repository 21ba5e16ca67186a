import type { Coordinator } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import type { StepRecord } from "../observe/index.ts";
import type { RunObserver } from "./run-observer.ts";
import type { RunLoad } from "./types.ts";

/** When things happened to a request, on the clock of the records of steps. */
export interface RequestTimes {
  readonly calledMs: number;
  /** Of each token. */
  readonly tokenMs: readonly number[];
  /** The generation was over, and its slot free. */
  readonly endedMs: number;
}

export interface LoadRecord {
  readonly requests: readonly RequestTimes[];
  readonly steps: readonly StepRecord[];
}

/** Below it, ids are of single bytes and control tokens in most vocabularies. */
const FIRST_TOKEN = 300;

/**
 * Runs a closed load: each client sends its next request when its last one is over. Prompts are made up, all unlike, so
 * that nothing is reused.
 *
 * @param round another one has other prompts
 * @throws what a generation throws
 */
export async function runLoad(
  coordinator: Coordinator,
  observer: RunObserver,
  load: RunLoad,
  vocabulary: number,
  round: number,
  signal: AbortSignal,
): Promise<LoadRecord> {
  const requests: RequestTimes[] = [];
  observer.begin();
  const runClient = async (client: number): Promise<void> => {
    for (let index = client; index < load.requests; index += load.streams) {
      requests.push(await runRequest(coordinator, load, makePrompt(load, vocabulary, round, index), signal));
    }
  };
  await Promise.all(Array.from({ length: load.streams }, (_, client) => runClient(client)));
  return { requests, steps: observer.end() };
}

async function runRequest(
  coordinator: Coordinator,
  { genTokens }: RunLoad,
  prompt: readonly number[],
  signal: AbortSignal,
): Promise<RequestTimes> {
  const calledMs = nowMs();
  const tokenMs: number[] = [];
  const request = { prompt, maxTokens: genTokens, ignoreEos: true, cachePrompt: false };
  for await (const event of coordinator.generate(request, signal)) {
    if (event.type === "token") tokenMs.push(nowMs());
  }
  if (tokenMs.length !== genTokens)
    throw new NoodleError("INTERNAL", `a request gave ${tokenMs.length} tokens of ${genTokens}`);
  return { calledMs, tokenMs, endedMs: nowMs() };
}

function makePrompt(load: RunLoad, vocabulary: number, round: number, index: number): readonly number[] {
  const first = Math.min(FIRST_TOKEN, Math.floor(vocabulary / 2));
  const seed = 1 + round * load.requests + index;
  return Array.from({ length: load.promptTokens }, (_, i) => {
    const mixed = Math.imul(i + 1 + seed * 7919, 2654435761) >>> 8;
    return first + (mixed % (vocabulary - first));
  });
}

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
