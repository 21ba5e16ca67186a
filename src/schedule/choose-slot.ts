/**
 * The slot that keeps what runs dense: rows of neighbouring slots are computed in one call, and strict blocks are filled
 * with real rows before another is begun.
 *
 * @param free ascending
 * @param align slots of a block; 1 where none are formed
 * @returns null where none is free
 */
export function chooseSlot(
  free: readonly number[],
  occupied: { has(slot: number): boolean; readonly size: number },
  align: number,
): number | null {
  let best: number | null = null;
  let bestScore = -1;
  for (const slot of free) {
    let score = align > 1 && isBegun(Math.floor(slot / align) * align, align, occupied) ? 4 : 0;
    // A neighbour on both sides closes a hole and saves a call.
    for (const neighbour of [slot - 1, slot + 1]) if (occupied.has(neighbour)) score += 1;
    if (score > bestScore) {
      best = slot;
      bestScore = score;
    }
  }
  return best;
}

function isBegun(start: number, align: number, occupied: { has(slot: number): boolean }): boolean {
  return Array.from({ length: align }, (_, index) => start + index).some((slot) => occupied.has(slot));
}
