import type { Coordinator, GenerateRequest } from "../cluster/coordinator/index.ts";

/** What several streams did together, beside each of them alone. */
export interface StreamsAtOnce {
  readonly streams: number;
  readonly tokens: number;
  /** Of all streams together, tokens over the time from the first request to the last token. */
  readonly tokensPerSec: number;
  /** Of the same requests one behind another. */
  readonly aloneTokensPerSec: number;
  /** Every stream gave the very tokens of its run alone. */
  readonly identical: boolean;
}

/**
 * Runs requests one behind another, then all at once, and compares their tokens.
 *
 * @throws what a generation throws
 */
export async function runStreamsAtOnce(
  coordinator: Coordinator,
  requests: readonly GenerateRequest[],
  signal: AbortSignal,
): Promise<StreamsAtOnce> {
  const collect = async (request: GenerateRequest): Promise<readonly number[]> => {
    const tokenIds: number[] = [];
    // What one run has computed must not answer the next: the figures would compare different work.
    for await (const event of coordinator.generate({ ...request, cachePrompt: false }, signal)) {
      if (event.type === "token") tokenIds.push(event.tokenId);
    }
    return tokenIds;
  };
  const aloneStartMs = performance.now();
  const alone: (readonly number[])[] = [];
  for (const request of requests) alone.push(await collect(request));
  const startMs = performance.now();
  const together = await Promise.all(requests.map(collect));
  const endMs = performance.now();
  const tokens = together.reduce((sum, { length }) => sum + length, 0);
  const aloneTokens = alone.reduce((sum, { length }) => sum + length, 0);
  return {
    streams: requests.length,
    tokens,
    tokensPerSec: (1000 * tokens) / (endMs - startMs),
    aloneTokensPerSec: (1000 * aloneTokens) / (startMs - aloneStartMs),
    identical: together.every(
      (tokenIds, i) => tokenIds.length === alone[i]?.length && tokenIds.every((id, k) => id === alone[i]?.[k]),
    ),
  };
}
