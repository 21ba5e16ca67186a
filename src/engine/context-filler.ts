import { fillPattern } from "./canary.ts";
import { repeatCells } from "./kv-fill.ts";
import type { LlamaContext } from "./llama-context.ts";
import type { StageFacts } from "./stage-facts.ts";

/** Rows that are really computed for a fabricated context; the others repeat them. */
const SEED_ROWS = 8;

/** Computes rows that mean nothing, unobserved. */
export function decodeFiller(
  context: LlamaContext,
  { hasEmbedding, nEmbd }: StageFacts,
  sequence: number,
  position: number,
  rows: number,
): void {
  const batch = context.batch(rows, hasEmbedding ? 0 : nEmbd);
  if (hasEmbedding) for (let row = 0; row < rows; row++) batch.tokens[row] = (position + row) % context.nVocab;
  else batch.embd.set(fillPattern(rows * nEmbd, position));
  for (let row = 0; row < rows; row++) batch.set(row, position + row, sequence, row === rows - 1);
  context.decode(batch, null);
}

/** Fills an empty sequence with keys and values of the right size. */
export function fillPositions(
  context: LlamaContext,
  facts: StageFacts,
  sequence: number,
  tokens: number,
  maxRows: number,
): void {
  const seedRows = Math.min(tokens, SEED_ROWS, maxRows);
  decodeFiller(context, facts, sequence, 0, seedRows);
  if (tokens === seedRows) return;
  const state = repeatCells(context.readState(sequence), facts.cacheLayers, tokens);
  if (state !== null && context.writeState(sequence, state)) return;
  // The engine does not take it: compute it all, which gives the same sizes.
  context.removePositions(sequence, 0);
  for (let position = 0; position < tokens; position += maxRows)
    decodeFiller(context, facts, sequence, position, Math.min(maxRows, tokens - position));
}
