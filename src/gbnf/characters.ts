import type { GbnfScanner } from "./gbnf-scanner.ts";
import { type CharRanges, invertRanges, joinRanges } from "./grammar.ts";
import { GBNF_LIMITS } from "./limits.ts";

/** Code points of a text in quotes, where the scanner stands. */
export function readLiteral(scanner: GbnfScanner): number[] {
  const start = scanner.at;
  scanner.take('"');
  const points: number[] = [];
  while (!scanner.take('"')) {
    if (scanner.atEnd) scanner.fail('the text has no closing `"`', start);
    if (points.length >= GBNF_LIMITS.elements)
      scanner.fail(`a text of more than ${GBNF_LIMITS.elements} characters`, start);
    points.push(scanner.readCharacter());
  }
  return points;
}

/** What a class in brackets holds, where the scanner stands. */
export function readClass(scanner: GbnfScanner): CharRanges {
  const start = scanner.at;
  scanner.take("[");
  const isInverted = scanner.take("^");
  const ranges: [number, number][] = [];
  while (!scanner.take("]")) {
    if (scanner.atEnd) scanner.fail("the class has no closing `]`", start);
    const first = scanner.readCharacter(true);
    let last = first;
    if (scanner.sees("-") && !scanner.sees("-]")) {
      scanner.take("-");
      if (scanner.atEnd) scanner.fail("the class has no closing `]`", start);
      last = scanner.readCharacter(true);
      if (last < first) scanner.fail("the range is the wrong way round");
    }
    ranges.push([first, last]);
  }
  const joined = joinRanges(ranges);
  const result = isInverted ? invertRanges(joined) : joined;
  if (ranges.length === 0 || result.every(([, last]) => last === 0))
    scanner.fail("the class holds no character", start);
  return result;
}
