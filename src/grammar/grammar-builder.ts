import { failGrammar } from "../gbnf/index.ts";
import { GRAMMAR_LIMITS } from "./limits.ts";

/** Nobody else's rules begin so. */
const FIXED_PREFIX = "json-";

/**
 * Collects named rules of a GBNF text. Rules of the same body are one rule; names are made to fit.
 *
 * Bodies are GBNF: `text` makes a literal of a text, names are written as they are returned.
 */
export class GrammarBuilder {
  readonly #bodies = new Map<string, string>();
  readonly #nameByBody = new Map<string, string>();
  #chars = 0;

  /** @returns the rule's name: the wanted one with a number behind it where another rule has it @throws GRAMMAR_INVALID */
  add(wantedName: string, body: string): string {
    const same = this.#nameByBody.get(body);
    if (same !== undefined) return same;
    const name = this.reserve(wantedName);
    this.define(name, body);
    this.#nameByBody.set(body, name);
    return name;
  }

  /** A name for a rule that is defined later: rules that contain themselves need theirs first. */
  reserve(wantedName: string): string {
    const plain = wantedName.replace(/[^a-zA-Z0-9-]+/g, "-").slice(0, 40) || "rule";
    const base = plain === "root" || plain.startsWith(FIXED_PREFIX) ? `rule-${plain}` : plain;
    let name = base;
    for (let i = 2; this.#bodies.has(name); i++) name = `${base}-${i}`;
    this.#bodies.set(name, "");
    return name;
  }

  define(name: string, body: string): void {
    this.#chars += name.length + body.length + 6;
    if (this.#chars > GRAMMAR_LIMITS.compiledChars)
      failGrammar(`the grammar would be longer than ${GRAMMAR_LIMITS.compiledChars} characters: use a smaller schema`);
    this.#bodies.set(name, body);
  }

  /** A rule of a well-known name: there once, however often it is asked for. */
  addFixed(wantedName: string, makeBody: () => string): string {
    const name = FIXED_PREFIX + wantedName;
    if (!this.#bodies.has(name)) {
      this.#bodies.set(name, "");
      this.define(name, makeBody());
    }
    return name;
  }

  /** The whole text: `root` as given, and the rules that it needs. */
  build(rootBody: string): string {
    const needed = new Set<string>();
    const todo = [rootBody];
    for (let body = todo.pop(); body !== undefined; body = todo.pop()) {
      for (const [name] of body
        .replaceAll(/"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]/g, " ")
        .matchAll(/[a-zA-Z][a-zA-Z0-9-]*/g)) {
        const inner = this.#bodies.get(name);
        if (inner === undefined || needed.has(name)) continue;
        needed.add(name);
        todo.push(inner);
      }
    }
    const rules = [...this.#bodies].filter(([name]) => needed.has(name)).map(([name, body]) => `${name} ::= ${body}\n`);
    return `root ::= ${rootBody}\n${rules.join("")}`;
  }
}

/** A literal of GBNF. */
export function quoteText(text: string): string {
  return `"${Array.from(text, (character) => escapeCharacter(character.codePointAt(0) ?? 0, '"')).join("")}"`;
}

/** A class of GBNF, or a literal where it holds one character. */
export function quoteRanges(ranges: readonly (readonly [number, number])[]): string {
  const [only] = ranges;
  if (only !== undefined && ranges.length === 1 && only[0] === only[1]) return quoteText(String.fromCodePoint(only[0]));
  const parts = ranges.map(([first, last]) => {
    const from = escapeCharacter(first, "[]^-");
    return first === last ? from : `${from}-${escapeCharacter(last, "[]^-")}`;
  });
  return `[${parts.join("")}]`;
}

function escapeCharacter(codePoint: number, quoted: string): string {
  const character = String.fromCodePoint(codePoint);
  if (character === "\n") return "\\n";
  if (character === "\\") return "\\\\";
  if (quoted.includes(character) || codePoint < 0x20 || (codePoint >= 0x7f && codePoint <= 0xa0)) {
    if (character === '"') return '\\"';
    return `\\x${codePoint.toString(16).padStart(2, "0")}`;
  }
  return character;
}
