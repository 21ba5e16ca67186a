/** Names of the page's colours; the style sheet gives each a value for light, dark and paper. */
export const COLOR_NAMES = ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "muted", "ink"] as const;

export type ColorName = (typeof COLOR_NAMES)[number];
export type PatternName = "" | "/" | "\\" | "x" | "-" | "|" | "+" | ".";
export type SymbolName =
  | "circle"
  | "square"
  | "diamond"
  | "triangle-up"
  | "triangle-down"
  | "cross"
  | "x"
  | "star"
  | "circle-open"
  | "diamond-open";
export type DashName = "solid" | "dash" | "dot" | "dashdot" | "longdash";

/** One look: nothing is told by its colour alone. */
export interface Paint {
  readonly color: ColorName;
  readonly pattern: PatternName;
  readonly symbol: SymbolName;
  readonly dash: DashName;
}

const PAINTS: readonly Paint[] = [
  { color: "c1", pattern: "", symbol: "circle", dash: "solid" },
  { color: "c2", pattern: "/", symbol: "square", dash: "dash" },
  { color: "c3", pattern: ".", symbol: "diamond", dash: "dot" },
  { color: "c4", pattern: "x", symbol: "triangle-up", dash: "dashdot" },
  { color: "c5", pattern: "\\", symbol: "triangle-down", dash: "longdash" },
  { color: "c6", pattern: "-", symbol: "cross", dash: "dash" },
  { color: "c7", pattern: "|", symbol: "star", dash: "dot" },
  { color: "c8", pattern: "+", symbol: "x", dash: "dashdot" },
];

const MUTED: Paint = { color: "muted", pattern: "/", symbol: "circle-open", dash: "dot" };

/** The look of the `index`-th series; they repeat after eight. */
export function paintOf(index: number): Paint {
  return PAINTS[((index % PAINTS.length) + PAINTS.length) % PAINTS.length] ?? MUTED;
}

const ROLE_PAINT: Readonly<Record<string, Paint>> = {
  attention: paintOf(0),
  mlp: paintOf(1),
  norm: paintOf(2),
  head: paintOf(3),
  "embedding.token": paintOf(4),
  "embedding.position": paintOf(5),
  sampling: paintOf(6),
  residual: paintOf(7),
  transfer: paintOf(7),
};

/** The look of a group of roles, the same in every chart. */
export function paintOfRole(group: string): Paint {
  return ROLE_PAINT[group] ?? MUTED;
}

/** Embedding and head are the same thing as a class and as a role; blocks are not one of their roles. */
const CLASS_PAINT: Readonly<Record<string, Paint>> = { embed: paintOf(4), head: paintOf(3), block: paintOf(6) };

/** The look of a class of units; `others` are the classes of the same model that have no look of their own. */
export function paintOfClass(name: string, others: readonly string[]): Paint {
  const known = CLASS_PAINT[name];
  if (known !== undefined) return known;
  const free = [7, 5, 2, 1, 0];
  const index = others.filter((other) => CLASS_PAINT[other] === undefined).indexOf(name);
  return index < 0 ? MUTED : paintOf(free[index % free.length] ?? 0);
}
