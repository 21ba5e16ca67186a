import { repeatCells } from "./kv-fill.ts";
import type { LlamaContext } from "./llama-context.ts";
import type { StageFacts } from "./stage-facts.ts";

/** Larger sequences are not taken through this process's own memory. */
const MAX_STATE_BYTES = 2 ** 30;
/** What a byte costs by the first way over a byte by the second: measured, 1 GB/s against 6 GB/s. */
const STATE_COST = 6;

/**
 * Makes one slot a copy of another's first positions. Two ways give the same bytes. Writing the source's state out and
 * the part that is wanted in again costs what the positions weigh, and is done at once; the library's own copy takes
 * the whole of a slot's cells, at the next decode. A state leaves out what is behind a sliding window, so that models
 * with such layers take the second way.
 */
export function copyPositions(
  context: LlamaContext,
  facts: Pick<StageFacts, "cacheLayers" | "kvBytesPerToken">,
  source: { readonly slot: number; readonly positions: number },
  to: number,
  tokens: number,
): void {
  const isCheaper = (source.positions + tokens) * STATE_COST < context.contextTokens;
  const isSmall = source.positions * facts.kvBytesPerToken < MAX_STATE_BYTES;
  if (facts.cacheLayers.length === 1 && isCheaper && isSmall && !context.hasPendingCopy) {
    const state = repeatCells(context.readState(source.slot), facts.cacheLayers, tokens);
    if (state !== null && context.writeState(to, state)) return;
  }
  context.copyStream(source.slot, to, tokens);
}
