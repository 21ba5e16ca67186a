import type { LegendItem } from "./document.ts";
import { escapeHtml } from "./escape.ts";
import type { DashName, PatternName, SymbolName } from "./paint.ts";

/** What bars, lines and points stand for, drawn with the same colour, pattern, dash and symbol. */
export function renderLegend(items: readonly LegendItem[]): string {
  if (items.length < 2 && items[0]?.mark !== "scale") return "";
  const seen = new Set<string>();
  const shown = items.filter(({ label, mark }) => {
    const key = `${mark} ${label}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
  return `<ul class="legend">${shown.map((item) => `<li>${renderMark(item)}${escapeHtml(item.label)}</li>`).join("")}</ul>`;
}

function renderMark({ mark, color, pattern, symbol, dash }: LegendItem): string {
  if (mark === "scale") return '<span class="scale" aria-hidden="true"></span>';
  const [width, drawing] = {
    bar: () => [14, `<rect width="14" height="14" fill="currentColor"/>${PATTERNS[pattern]}`] as const,
    rule: () =>
      [30, `<line x1="0" y1="7" x2="30" y2="7" stroke="currentColor" stroke-width="2"${dashOf(dash)}/>`] as const,
    line: () =>
      [
        30,
        `<line x1="0" y1="7" x2="30" y2="7" stroke="currentColor" stroke-width="2"${dashOf(dash)}/><g transform="translate(8 0)">${SYMBOLS[symbol]}</g>`,
      ] as const,
    point: () => [14, SYMBOLS[symbol]] as const,
  }[mark]();
  return `<svg class="paint-${color}" width="${width}" height="14" viewBox="0 0 ${width} 14" aria-hidden="true" focusable="false">${drawing}</svg>`;
}

const lines = (path: string): string => `<path class="hatch" stroke-width="1.5" d="${path}"/>`;

const PATTERNS: Readonly<Record<PatternName, string>> = {
  "": "",
  "/": lines("M0 7L7 0M0 14L14 0M7 14L14 7"),
  "\\": lines("M7 0L14 7M0 0L14 14M0 7L7 14"),
  x: lines("M7 0L14 7M0 0L14 14M0 7L7 14M0 7L7 0M0 14L14 0M7 14L14 7"),
  "-": lines("M0 3.5H14M0 10.5H14"),
  "|": lines("M3.5 0V14M10.5 0V14"),
  "+": lines("M0 3.5H14M0 10.5H14M3.5 0V14M10.5 0V14"),
  ".": '<g class="hatch-dot"><circle cx="3.5" cy="3.5" r="1.5"/><circle cx="10.5" cy="3.5" r="1.5"/><circle cx="3.5" cy="10.5" r="1.5"/><circle cx="10.5" cy="10.5" r="1.5"/></g>',
};

const filled = (path: string): string => `<path fill="currentColor" d="${path}"/>`;
const open = (path: string): string => `<path fill="none" stroke="currentColor" stroke-width="1.5" d="${path}"/>`;
const CIRCLE = "M3 7a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z";
const DIAMOND = "M7 2L12 7L7 12L2 7Z";

const SYMBOLS: Readonly<Record<SymbolName, string>> = {
  circle: filled(CIRCLE),
  square: filled("M3 3H11V11H3Z"),
  diamond: filled(DIAMOND),
  "triangle-up": filled("M7 2.5L12 11H2Z"),
  "triangle-down": filled("M7 11.5L12 3H2Z"),
  cross: filled("M5.5 3H8.5V5.5H11V8.5H8.5V11H5.5V8.5H3V5.5H5.5Z"),
  x: filled("M3 4.5L4.5 3L7 5.5L9.5 3L11 4.5L8.5 7L11 9.5L9.5 11L7 8.5L4.5 11L3 9.5L5.5 7Z"),
  star: filled("M7 1.5L8.5 5.2L12.5 5.5L9.4 8L10.4 12L7 9.8L3.6 12L4.6 8L1.5 5.5L5.5 5.2Z"),
  "circle-open": open(CIRCLE),
  "diamond-open": open(DIAMOND),
};

const DASHES: Readonly<Record<DashName, string>> = {
  solid: "",
  dash: "6 3",
  dot: "2 2",
  dashdot: "6 2 2 2",
  longdash: "10 3",
};

function dashOf(dash: DashName): string {
  return DASHES[dash] === "" ? "" : ` stroke-dasharray="${DASHES[dash]}"`;
}
