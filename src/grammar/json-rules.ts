import { GrammarBuilder } from "./grammar-builder.ts";

/**
 * Space that may stand between the parts of a document: nothing, one space, or a new line and its indentation. A model
 * that likes to write space can't do so for ever.
 */
export function addSpace(builder: GrammarBuilder): string {
  return builder.addFixed("space", () => '" " | "\\n" [ \\t]{0,20} | ""');
}

/**
 * One code point of a string. Surrogates are not written as escapes: halves of them are no text, and a pair of them
 * would count as two where lengths are limited.
 */
export function addChar(builder: GrammarBuilder): string {
  const escape = builder.addFixed(
    "escape",
    () => '["\\\\/bfnrt] | "u" ([0-9abcefABCEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2})',
  );
  return builder.addFixed("char", () => `${PLAIN_CHAR} | "\\\\" ${escape}`);
}

/** What stands in a string as itself. */
export const PLAIN_CHAR = '[^"\\\\\\x00-\\x1f]';

export function addString(builder: GrammarBuilder): string {
  return builder.addFixed("string", () => `"\\"" ${addChar(builder)}* "\\""`);
}

/** Digits that every reader of JSON keeps exactly. */
export const MAX_INTEGER_DIGITS = 15;

export function addInteger(builder: GrammarBuilder): string {
  return builder.addFixed("integer", () => `"-"? ("0" | [1-9] [0-9]{0,${MAX_INTEGER_DIGITS - 1}})`);
}

export function addNumber(builder: GrammarBuilder): string {
  return builder.addFixed("number", () => `${addInteger(builder)} ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?`);
}

export function addBoolean(builder: GrammarBuilder): string {
  return builder.addFixed("boolean", () => '"true" | "false"');
}

export function addNull(builder: GrammarBuilder): string {
  return builder.addFixed("null", () => '"null"');
}

export function addObject(builder: GrammarBuilder): string {
  const space = addSpace(builder);
  const member = builder.addFixed("member", () => `${addString(builder)} ":" ${space} ${addValue(builder)} ${space}`);
  return builder.addFixed("object", () => `"{" ${space} (${member} ("," ${space} ${member})*)? "}"`);
}

export function addArray(builder: GrammarBuilder): string {
  const space = addSpace(builder);
  const value = addValue(builder);
  return builder.addFixed("array", () => `"[" ${space} (${value} ${space} ("," ${space} ${value} ${space})*)? "]"`);
}

/** Any JSON value. */
export function addValue(builder: GrammarBuilder): string {
  return builder.addFixed("value", () =>
    [addObject, addArray, addString, addNumber, addBoolean, addNull].map((add) => add(builder)).join(" | "),
  );
}

function buildJsonGrammar(): string {
  const builder = new GrammarBuilder();
  return builder.build(addObject(builder));
}

/** Any JSON object: `response_format: {type: "json_object"}`. */
export const JSON_GRAMMAR: string = buildJsonGrammar();
