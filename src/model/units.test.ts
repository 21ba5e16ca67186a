import { expect, it } from "vitest";
import { blocksOf, hasEmbedding, hasHead } from "./units.ts";

it.each([
  { range: { first: 0, end: 6 }, blocks: { first: 0, end: 4 }, embedding: true, head: true },
  { range: { first: 0, end: 1 }, blocks: { first: 0, end: 0 }, embedding: true, head: false },
  { range: { first: 5, end: 6 }, blocks: { first: 4, end: 4 }, embedding: false, head: true },
  { range: { first: 2, end: 4 }, blocks: { first: 1, end: 3 }, embedding: false, head: false },
  { range: { first: 0, end: 3 }, blocks: { first: 0, end: 2 }, embedding: true, head: false },
])("tells the blocks and the ends of $range.first:$range.end of four blocks", ({ range, blocks, embedding, head }) => {
  expect(blocksOf(range, 4)).toEqual(blocks);
  expect(hasEmbedding(range)).toBe(embedding);
  expect(hasHead(range, 4)).toBe(head);
});
