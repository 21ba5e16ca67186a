import type { UnitWork } from "./model-work.ts";

type Unnamed = Omit<UnitWork, "unitClass">;

/**
 * Names the class of every unit. Units of one class do the same work: the same tensors with the same shapes and types,
 * the same attention. `embed` and `head` are classes of their own; blocks are `block` when all are alike. Differing
 * shapes or types are told apart by letters in order of appearance (`block.a`, `block.b`), windows by `.sliding`, and
 * the last block, which drops the rows that nobody wants the logits of, by `.last`.
 */
export function nameClasses(units: readonly Unnamed[]): string[] {
  const blocks = units.filter((unit) => unit.kind === "block");
  const shapes = [...new Set(blocks.map(describeShapes))];
  return units.map((unit) => {
    if (unit.kind === "embedding") return "embed";
    if (unit.kind === "head") return "head";
    const letter = shapes.length === 1 ? "" : `.${nameLetters(shapes.indexOf(describeShapes(unit)))}`;
    const window = (unit.attention?.window ?? null) === null ? "" : ".sliding";
    return `block${letter}${window}${unit.dropsRows && blocks.length > 1 ? LAST : ""}`;
  });
}

const LAST = ".last";

/** The class that a last block would be of if it kept all rows: the nearest stand-in. */
export function nameStandIn(unitClass: string): string | null {
  return unitClass.endsWith(LAST) ? unitClass.slice(0, -LAST.length) : null;
}

function describeShapes(unit: Unnamed): string {
  const tensors = unit.tensors.map(({ name, dims, type }) => `${name} ${dims.join("x")} ${type}`).toSorted();
  const { attention, experts } = unit;
  const heads = attention === null ? null : { ...attention, window: null };
  return JSON.stringify([tensors, heads, experts]);
}

/** 0 = a, 25 = z, 26 = aa. */
function nameLetters(index: number): string {
  const letter = String.fromCodePoint(97 + (index % 26));
  return index < 26 ? letter : `${nameLetters(Math.floor(index / 26) - 1)}${letter}`;
}
