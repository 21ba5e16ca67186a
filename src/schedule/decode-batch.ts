import type { SchedulePolicy, WaitingSession } from "./types.ts";

/** Rows of one decode micro-batch. */
export interface DecodeBatch {
  /** In ascending order of slots. */
  readonly members: readonly WaitingSession[];
  /** Ascending; slots that take a dummy row. */
  readonly pads: readonly number[];
}

type Shape = Pick<
  SchedulePolicy,
  "maxDecodeRows" | "slots" | "align" | "pairFromCells" | "maxHole" | "determinism" | "decodeInFlight"
>;

/**
 * Deals the active slots out to as many groups of neighbours as micro-batches may be in flight. A micro-batch takes rows
 * of one group only.
 *
 * @param active by slot: not 0 for those that decode, waiting or under way
 * @param groupOf takes, by slot, its group, from 0; of slots that are not active nothing in particular
 */
export function dealGroups(active: Uint8Array, policy: Shape, groupOf: Uint16Array): void {
  const { maxDecodeRows, decodeInFlight, slots } = policy;
  const block = blockOf(policy);
  // Where the slots do not come out even, those left over are a group of their own, behind all others.
  const evenSlots = Math.floor(slots / block) * block;
  let units = 0;
  for (let slot = 0, last = -1; slot < evenSlots; slot++) {
    if (active[slot] === 0) continue;
    const unit = block === 1 ? slot : Math.floor(slot / block);
    if (unit !== last) units += 1;
    last = unit;
    groupOf[slot] = units - 1;
  }
  const mostUnits = Math.max(1, Math.floor(maxDecodeRows / block));
  const groups = Math.max(Math.min(decodeInFlight, units), Math.ceil(units / mostUnits));
  // The group of a unit is floor(unit * groups / units); units come in ascending order.
  for (let slot = 0, group = 0; slot < evenSlots; slot++) {
    if (active[slot] === 0) continue;
    while ((groupOf[slot] as number) * groups >= (group + 1) * units) group += 1;
    groupOf[slot] = group;
  }
  for (let slot = evenSlots; slot < slots; slot++) groupOf[slot] = groups;
}

/**
 * A micro-batch of the rows of one group.
 *
 * @param members in ascending order of slots
 */
export function formDecodeBatch(members: readonly WaitingSession[], policy: Shape): DecodeBatch {
  if (policy.determinism === "strict" && policy.align > 1) return { members, pads: fillBlocks(members, policy) };
  const pads = bridgeHoles(members, policy);
  if (policy.determinism === "strict") pads.push(...pairLoneRows(members, pads, policy));
  return { members, pads: pads.length > 1 ? pads.sort((a, b) => a - b) : pads };
}

function blockOf({ determinism, align }: Shape): number {
  return determinism === "strict" && align > 1 ? align : 1;
}

/** Pads where a small hole would cost another call. */
function bridgeHoles(members: readonly WaitingSession[], { maxHole = 1, maxDecodeRows }: Shape): number[] {
  const pads: number[] = [];
  let before = -1;
  for (const { slot } of members) {
    const hole = before < 0 ? 0 : slot - before - 1;
    if (hole > 0 && hole <= maxHole && members.length + pads.length + hole <= maxDecodeRows) {
      for (let pad = slot - hole; pad < slot; pad++) pads.push(pad);
    }
    before = slot;
  }
  return pads;
}

/** A neighbour for each row that would be alone in its call and must not be. */
function pairLoneRows(members: readonly WaitingSession[], pads: readonly number[], policy: Shape): readonly number[] {
  const { pairFromCells, slots } = policy;
  if (pairFromCells === null || slots < 2) return [];
  const taken = new Set([...members.map((member) => member.slot), ...pads]);
  const neighbours: number[] = [];
  for (const { slot, position } of members) {
    if (position + 1 < pairFromCells || taken.has(slot - 1) || taken.has(slot + 1)) continue;
    const neighbour = slot + 1 < slots ? slot + 1 : slot - 1;
    taken.add(neighbour);
    neighbours.push(neighbour);
  }
  return neighbours;
}

/**
 * Pads that make whole blocks of `align` slots of the rows, so that every row has the place and the company that its
 * class wants, whoever else runs. Slots left over are computed in a block that reaches back.
 */
function fillBlocks(members: readonly WaitingSession[], { align, slots }: Shape): readonly number[] {
  const evenSlots = Math.floor(slots / align) * align;
  if ((members[0]?.slot ?? 0) >= evenSlots) return padBlock(Math.max(0, slots - align), slots, members);
  const blocks = [...new Set(members.map(({ slot }) => Math.floor(slot / align)))];
  return blocks.flatMap((block) => padBlock(block * align, (block + 1) * align, members));
}

function padBlock(start: number, end: number, members: readonly WaitingSession[]): readonly number[] {
  const taken = new Set(members.map(({ slot }) => slot));
  return Array.from({ length: end - start }, (_, i) => start + i).filter((slot) => !taken.has(slot));
}
