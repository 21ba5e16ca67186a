/** A stretch of time in a row of the picture; what lies inside it, in order and without overlap. */
export interface Slice {
  readonly pid: number;
  readonly lane: string;
  readonly name: string;
  readonly startNs: number;
  readonly endNs: number;
  readonly args: Readonly<Record<string, unknown>>;
  readonly inside: readonly Omit<Slice, "pid" | "lane" | "inside">[];
}

export interface Row {
  readonly pid: number;
  readonly tid: number;
  readonly name: string;
}

export interface PlacedSlices {
  readonly rows: readonly Row[];
  readonly tidOf: ReadonlyMap<Slice, number>;
}

/** Rows of one lane are numbered from its place times this. */
const ROWS_PER_LANE = 1000;

/**
 * Gives each slice a row of its lane such that no two slices of a row overlap: steps that are in one stage at the same
 * time lie in rows of their own. Every lane has at least its first row, so that all processes look alike.
 *
 * @param lanes by process, in the order of the picture
 */
export function placeSlices(slices: readonly Slice[], lanes: ReadonlyMap<number, readonly string[]>): PlacedSlices {
  const rows: Row[] = [];
  const tidOf = new Map<Slice, number>();
  const byLane = new Map<string, Slice[]>();
  for (const slice of slices) {
    const key = `${slice.pid}/${slice.lane}`;
    const list = byLane.get(key);
    if (list === undefined) byLane.set(key, [slice]);
    else list.push(slice);
  }
  for (const [pid, names] of lanes) {
    for (const [place, lane] of names.entries()) {
      const ends: number[] = [];
      const ordered = (byLane.get(`${pid}/${lane}`) ?? []).toSorted(
        (a, b) => a.startNs - b.startNs || a.endNs - b.endNs,
      );
      for (const slice of ordered) {
        let row = ends.findIndex((endNs) => endNs <= slice.startNs);
        if (row < 0) row = ends.length;
        ends[row] = slice.endNs;
        tidOf.set(slice, (place + 1) * ROWS_PER_LANE + row);
      }
      for (let row = 0; row < Math.max(1, ends.length); row++) {
        rows.push({ pid, tid: (place + 1) * ROWS_PER_LANE + row, name: row === 0 ? lane : `${lane} ${row + 1}` });
      }
    }
  }
  return { rows, tidOf };
}
