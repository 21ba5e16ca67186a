import { type GrammarBuilder, quoteText } from "../grammar/index.ts";

/**
 * Adds rules for any text up to the first `mark`, the mark itself, and what follows it: one rule for each beginning of
 * the mark that has been read, so that there is always one way to go on.
 *
 * @param behind GBNF of what follows the mark
 * @param mayEnd the text may also end without the mark
 * @returns the name of the first rule
 * @see Knuth, Morris, Pratt, Fast pattern matching in strings, 1977
 */
export function addTextUntil(
  builder: GrammarBuilder,
  mark: string,
  behind: string,
  name: string,
  mayEnd: boolean,
): string {
  const characters = Array.from(mark);
  const alphabet = [...new Set(characters)];
  const rest = builder.add(`${name}-behind`, behind);
  const states = characters.map((_, read) => builder.reserve(`${name}-${read}`));
  for (const [read, state] of states.entries()) {
    const goesOn = alphabet.filter((character) => findState(characters, [...characters.slice(0, read), character]) > 0);
    const alternatives = goesOn.map((character) => {
      const next = findState(characters, [...characters.slice(0, read), character]);
      return `${quoteText(character)} ${next === characters.length ? rest : (states[next] ?? "")}`;
    });
    alternatives.push(`[^${goesOn.map(escapeInClass).join("")}] ${states[0] ?? ""}`);
    if (mayEnd) alternatives.push('""');
    builder.define(state, alternatives.join(" | "));
  }
  return states[0] ?? rest;
}

/** Length of the longest end of `read` that is a beginning of the mark. */
function findState(mark: readonly string[], read: readonly string[]): number {
  for (let length = Math.min(mark.length, read.length); length > 0; length--) {
    if (mark.slice(0, length).every((character, i) => character === read[read.length - length + i])) return length;
  }
  return 0;
}

function escapeInClass(character: string): string {
  return /[\]\\^-]/.test(character) ? `\\x${character.charCodeAt(0).toString(16)}` : character;
}
