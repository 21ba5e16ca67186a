const MAX_NAME_CHARS = 80;
/** Control characters, and those that turn the direction of what follows. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

/** A name out of a file as it may be shown: one line, printable, of a bounded length. */
export function cleanName(text: string, maxChars: number = MAX_NAME_CHARS): string {
  const printable = text.replaceAll(UNPRINTABLE, " ").replaceAll(/ {2,}/g, " ").trim();
  const chars = Array.from(printable);
  return chars.length <= maxChars ? printable : `${chars.slice(0, maxChars - 1).join("")}…`;
}

/** `blk.11` is `block 11`, `embed` the embedding; others stay. */
export function nameUnit(name: string): string {
  const block = /^blk\.(\d+)$/.exec(name);
  if (block !== null) return `block ${block[1] ?? ""}`;
  return name === "embed" ? "embedding" : cleanName(name);
}

/** The same, as short as an axis wants it. */
export function nameUnitShort(name: string): string {
  const block = /^blk\.(\d+)$/.exec(name);
  return cleanName(block?.[1] ?? name, 16);
}

const ROLE_NAMES: Readonly<Record<string, string>> = {
  "embedding.token": "token embedding",
  "embedding.position": "position embedding",
  norm: "norm",
  attention: "attention",
  mlp: "MLP",
  head: "head",
  sampling: "sampling",
  residual: "residual",
  transfer: "transfer",
  other: "other",
  total: "whole unit",
};

/** A role or a group of roles in words. */
export function nameRole(role: string): string {
  return ROLE_NAMES[role] ?? cleanName(role);
}

/** `block` becomes `blocks`; classes of special blocks keep their ending. */
export function nameClass(name: string): string {
  if (name === "embed") return "embedding";
  const [kind, ...marks] = name.split(".");
  if (kind !== "block") return cleanName(name);
  return cleanName(marks.length === 0 ? "blocks" : `blocks (${marks.join(", ")})`);
}

/** The same for a unit of which only the number is known. */
export function nameUnitNumber(unit: number, unitCount: number | null): string {
  if (unit === 0) return "embedding";
  return unitCount !== null && unit === unitCount - 1 ? "head" : `block ${unit - 1}`;
}
