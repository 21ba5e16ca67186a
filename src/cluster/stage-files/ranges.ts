/** A stretch of bytes of a model's shard. */
export interface FileRange {
  readonly shard: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * What of `wanted` is not covered by `have`. Both in any order; `have` may overlap itself.
 *
 * @returns sorted by shard and offset, nothing empty, neighbours joined
 */
export function subtractRanges(wanted: readonly FileRange[], have: readonly FileRange[]): readonly FileRange[] {
  const covered = joinRanges(have);
  const missing: FileRange[] = [];
  for (const { shard, offset, length } of joinRanges(wanted)) {
    let at = offset;
    const end = offset + length;
    for (const part of covered) {
      if (part.shard !== shard || part.offset + part.length <= at) continue;
      if (part.offset >= end) break;
      if (part.offset > at) missing.push({ shard, offset: at, length: part.offset - at });
      at = Math.max(at, part.offset + part.length);
    }
    if (at < end) missing.push({ shard, offset: at, length: end - at });
  }
  return missing;
}

/** The same bytes as sorted ranges that neither touch nor overlap. */
export function joinRanges(ranges: readonly FileRange[]): readonly FileRange[] {
  const joined: FileRange[] = [];
  const sorted = ranges.filter(({ length }) => length > 0).sort((a, b) => a.shard - b.shard || a.offset - b.offset);
  for (const range of sorted) {
    const last = joined.at(-1);
    if (last === undefined || last.shard !== range.shard || last.offset + last.length < range.offset) {
      joined.push(range);
      continue;
    }
    const end = Math.max(last.offset + last.length, range.offset + range.length);
    joined[joined.length - 1] = { ...last, length: end - last.offset };
  }
  return joined;
}

export function countBytes(ranges: readonly FileRange[]): number {
  return ranges.reduce((sum, { length }) => sum + length, 0);
}
