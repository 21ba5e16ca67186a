import { must } from "../common/index.ts";
import type { RunGroup } from "../schedule/index.ts";
import { countOutputRows } from "./runs.ts";
import type { RowRun } from "./types.ts";

/** A run, or a dummy row, inside one engine call. */
export interface CallMember extends Pick<RowRun, "slot" | "position" | "rows" | "output"> {
  /** Index into `StageInput.runs`; null = a dummy row. */
  readonly run: number | null;
}

/**
 * The members of a call in the order of its rows. Dummy rows are outputs wherever a run beside them has one: behind the
 * last block only output rows are computed, and their class too is a matter of how many there are.
 *
 * @param heldPositions positions in a slot, which a dummy row goes behind
 */
export function listMembers(
  group: RunGroup,
  runs: readonly RowRun[],
  heldPositions: (slot: number) => number,
): readonly CallMember[] {
  const members: CallMember[] = group.runs.map((index) => {
    const { slot, position, rows, output } = must(runs[index], "run");
    return { run: index, slot, position, rows, output };
  });
  if (group.pads.length === 0) return members;
  const output = members.some((member) => countOutputRows(member) > 0) ? "last" : "none";
  for (const slot of group.pads) members.push({ run: null, slot, position: heldPositions(slot), rows: 1, output });
  return members.sort((a, b) => a.slot - b.slot);
}
