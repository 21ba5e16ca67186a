import { nameStandIn } from "./classes.ts";
import { countWork, type RowRole } from "./count-work.ts";
import type { MeasuredCell, MeasuredPart } from "./measured.ts";
import type { UnitWork } from "./model-work.ts";
import { findBound, type Roofs } from "./roofline.ts";
import type { Bound } from "./types.ts";

/** One role of a class of units, or of a unit, in one cell: what a bottleneck is made of. Sums over its units. */
export interface HotSpot {
  readonly cell: MeasuredCell;
  readonly unitClass: string;
  readonly role: RowRole;
  readonly units: readonly UnitWork[];
  /** Hooks' cost taken off. */
  readonly ms: number;
  /** Of the whole step. */
  readonly share: number;
  readonly flops: number;
  readonly bytesMoved: number;
  readonly kvBytesMoved: number;
  readonly weightBytesMoved: number;
  readonly bound: Bound;
}

/** The most expensive spots of a cell, dearest first. */
export function listHotSpots(cell: MeasuredCell, roofs: Roofs): HotSpot[] {
  const stepMs = sumMs(cell.totals) + cell.outsideMs;
  const groups = new Map<string, MeasuredPart[]>();
  for (const part of cell.finest) {
    const key = `${nameSpotClass(part.unit)} ${part.role}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [part]);
    else group.push(part);
  }
  const spots = [...groups.values()].flatMap((group): HotSpot[] => {
    const [first] = group;
    if (first === undefined) return [];
    const works = group.map((part) => countWork(part.unit, part.role, cell));
    const ms = sumMs(group);
    const flops = works.reduce((sum, work) => sum + work.flops, 0);
    const bytesMoved = works.reduce((sum, work) => sum + work.bytesMoved, 0);
    return [
      {
        cell,
        unitClass: nameSpotClass(first.unit),
        role: first.role,
        units: group.map((part) => part.unit),
        ms,
        share: stepMs > 0 ? ms / stepMs : 0,
        flops,
        bytesMoved,
        weightBytesMoved: works.reduce((sum, work) => sum + work.weightBytesMoved, 0),
        kvBytesMoved: works.reduce((sum, work) => sum + work.kvBytesMoved, 0),
        bound: findBound(ms, flops, bytesMoved, roofs),
      },
    ];
  });
  return spots.sort((a, b) => b.ms - a.ms);
}

/** The time that a spot's role and units take in another cell; null when they were not all measured there. */
export function findSpotMs(spot: HotSpot, cell: MeasuredCell): number | null {
  const parts = (spot.role === "total" ? cell.totals : cell.roles).filter(
    (part) => part.role === spot.role && spot.units.includes(part.unit),
  );
  return parts.length === spot.units.length ? sumMs(parts) : null;
}

/** The whole step's time without hooks. */
export function findStepMs(cell: MeasuredCell): number {
  return sumMs(cell.totals) + cell.outsideMs;
}

/** The last block counts with its kind. */
function nameSpotClass(unit: UnitWork): string {
  return nameStandIn(unit.unitClass) ?? unit.unitClass;
}

function sumMs(parts: readonly MeasuredPart[]): number {
  return parts.reduce((sum, part) => sum + part.netMs, 0);
}
