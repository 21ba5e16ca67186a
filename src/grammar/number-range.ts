import { failGrammar } from "../gbnf/index.ts";
import { MAX_INTEGER_DIGITS } from "./json-rules.ts";

const LARGEST = 10 ** MAX_INTEGER_DIGITS - 1;

/** Bounds of a number; an exclusive one is its own field as in JSON Schema. */
export interface NumberBounds {
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
  readonly exclusiveMinimum?: number | undefined;
  readonly exclusiveMaximum?: number | undefined;
}

/** The GBNF of the whole numbers within the bounds, of at most 15 digits. @throws GRAMMAR_INVALID when there are none */
export function buildIntegerRange(bounds: NumberBounds, path: string): string {
  const low = Math.max(
    -LARGEST,
    Math.ceil(bounds.minimum ?? -Infinity),
    Math.floor(bounds.exclusiveMinimum ?? -Infinity) + 1,
  );
  const high = Math.min(
    LARGEST,
    Math.floor(bounds.maximum ?? Infinity),
    Math.ceil(bounds.exclusiveMaximum ?? Infinity) - 1,
  );
  if (low > high) failGrammar(`${path}: no whole number of at most ${MAX_INTEGER_DIGITS} digits lies in the bounds`);
  const alternatives: string[] = [];
  if (low < 0) alternatives.push(`"-" ${group(buildMagnitudes(Math.max(1, -high), -low))}`);
  if (high >= 0) alternatives.push(buildMagnitudes(Math.max(0, low), high));
  return alternatives.join(" | ");
}

/**
 * The GBNF of the decimal numbers within whole bounds, without exponent, of at most 15 digits before and behind the
 * point. @throws GRAMMAR_INVALID for bounds with a fraction, or when nothing lies between them
 */
export function buildNumberRange(bounds: NumberBounds, path: string): string {
  for (const [keyword, bound] of Object.entries(bounds)) {
    if (typeof bound === "number" && !Number.isInteger(bound))
      failGrammar(`${path}/${keyword}: bounds of a number must be whole, this one is ${bound}`);
  }
  const low = tighter(bounds.minimum, bounds.exclusiveMinimum, Math.max, -LARGEST);
  const high = tighter(bounds.maximum, bounds.exclusiveMaximum, Math.min, LARGEST);
  if (low.value > high.value || (low.value === high.value && (low.open || high.open)))
    failGrammar(`${path}: no number lies between ${low.value} and ${high.value}`);
  const alternatives: string[] = [];
  const zero: Bound = { value: 0, open: false };
  if (low.value < 0) {
    const far = { value: -low.value, open: low.open };
    const near = high.value < 0 ? { value: -high.value, open: high.open } : zero;
    // Minus zero is zero: it must be allowed where it is written.
    const zeroIsIn = high.value > 0 || (high.value === 0 && !high.open);
    const from = near.value === 0 && !zeroIsIn ? { value: 0, open: true } : near;
    alternatives.push(`"-" ${group(buildDecimals(from, far))}`);
  }
  if (high.value > 0 || (high.value === 0 && !high.open && !(low.value === 0 && low.open)))
    alternatives.push(buildDecimals(low.value >= 0 ? low : zero, high));
  return alternatives.join(" | ");
}

interface Bound {
  readonly value: number;
  readonly open: boolean;
}

function tighter(
  closed: number | undefined,
  open: number | undefined,
  pick: (...values: number[]) => number,
  limit: number,
): Bound {
  const value = pick(closed ?? limit, open ?? limit, limit);
  return { value, open: open === value };
}

const FRACTION = '("." [0-9]{1,15})?';
const FRACTION_OF_ZERO = '("." "0"{1,15})?';
const FRACTION_ABOVE_ZERO = '"." "0"{0,14} [1-9] [0-9]{0,14}';

/** @param low not negative */
function buildDecimals(low: Bound, high: Bound): string {
  if (low.value === high.value) return `${buildMagnitudes(low.value, low.value)} ${FRACTION_OF_ZERO}`;
  const alternatives: string[] = [];
  if (low.open) alternatives.push(`${buildMagnitudes(low.value, low.value)} ${FRACTION_ABOVE_ZERO}`);
  const first = low.open ? low.value + 1 : low.value;
  if (first < high.value) alternatives.push(`${group(buildMagnitudes(first, high.value - 1))} ${FRACTION}`);
  if (!high.open) alternatives.push(`${buildMagnitudes(high.value, high.value)} ${FRACTION_OF_ZERO}`);
  return alternatives.join(" | ");
}

/** Decimal texts, without leading zeros, of the whole numbers from `low` to `high`, as a tree of digits. */
function buildMagnitudes(low: number, high: number): string {
  const body = joinDigits((digit) => {
    if (digit === 0) return low === 0 ? "" : undefined;
    return buildBehind(digit, String(high).length - 1, low, high);
  });
  return group(body);
}

/**
 * What may follow the digits of `prefix`, of which it must be the beginning, with up to `room` more digits.
 * @returns "" for nothing more, undefined when no number of the range begins so
 */
function buildBehind(prefix: number, room: number, low: number, high: number): string | undefined {
  let fewest = -1;
  let most = -1;
  let isWhole = true;
  for (let more = 0; more <= room; more++) {
    const first = prefix * 10 ** more;
    const last = first + 10 ** more - 1;
    if (first > high || last < low) continue;
    if (fewest < 0) fewest = more;
    most = more;
    isWhole &&= first >= low && last <= high;
  }
  if (most < 0) return undefined;
  if (isWhole) return fewest === most && most === 0 ? "" : `[0-9]{${fewest},${most}}`;
  const tail = joinDigits((digit) => buildBehind(prefix * 10 + digit, room - 1, low, high));
  const mayEnd = prefix >= low && prefix <= high;
  return mayEnd && tail !== "" ? `(${tail})?` : tail;
}

/** Digits with the same continuation become one class. @returns "" when no digit is possible */
function joinDigits(continueWith: (digit: number) => string | undefined): string {
  const byTail = new Map<string, number[]>();
  for (let digit = 0; digit <= 9; digit++) {
    const tail = continueWith(digit);
    if (tail !== undefined) byTail.set(tail, [...(byTail.get(tail) ?? []), digit]);
  }
  const alternatives = [...byTail].map(([tail, digits]) => {
    const head = digits.length === 1 ? `"${digits[0]}"` : `[${digits.join("")}]`;
    return tail === "" ? head : `${head} ${group(tail)}`;
  });
  return alternatives.join(" | ");
}

function group(body: string): string {
  return body.includes(" | ") ? `(${body})` : body;
}
