import { NoodleError } from "../../common/index.ts";
import { checkRules } from "./check-rules.ts";
import type { CharElement, Grammar, GrammarElement } from "./grammar.ts";
import { GrammarScanner } from "./grammar-scanner.ts";

/** Limits of a grammar. Elements are characters, sets, references, alternatives and rules, repetitions written out. */
export const GRAMMAR_LIMITS = { textLength: 262_144, elements: 200_000, nesting: 64 } as const;

const LAST_CODE_POINT = 0x10ffff;

/**
 * Reads a grammar in GBNF: rules `name ::= alternatives` of literals, sets, `.`, names, groups, and `* + ? {m,n}`. What
 * it takes is what the engine's own samplers take, except for references to single tokens.
 *
 * @throws NoodleError `GRAMMAR_INVALID` with line and column; for rules that are undefined, begin with themselves or can
 *   never end; and beyond GRAMMAR_LIMITS
 */
export function parseGrammar(text: string): Grammar {
  if (text.length > GRAMMAR_LIMITS.textLength) {
    throw new NoodleError(
      "GRAMMAR_INVALID",
      `the grammar has ${text.length} characters, the limit is ${GRAMMAR_LIMITS.textLength}`,
    );
  }
  return new GrammarParser(text).parse();
}

class GrammarParser {
  readonly #scanner: GrammarScanner;
  readonly #names = new Map<string, number>();
  /** For each rule its alternatives; undefined while it is only named. */
  readonly #rules: (readonly (readonly GrammarElement[])[] | undefined)[] = [];
  #elements = 0;

  constructor(text: string) {
    this.#scanner = new GrammarScanner(text);
  }

  parse(): Grammar {
    const scanner = this.#scanner;
    scanner.skipSpace(true);
    while (scanner.next !== "") this.#parseRule();
    const root = this.#names.get("root");
    if (root === undefined) throw new NoodleError("GRAMMAR_INVALID", "the grammar has no rule `root`");
    const names = [...this.#names];
    const rules = this.#rules.map((alternatives, rule) => {
      if (alternatives !== undefined) return alternatives;
      const name = names.find(([, id]) => id === rule)?.[0] ?? "";
      throw new NoodleError("GRAMMAR_INVALID", `the grammar does not define the rule ${name.slice(0, 64)}`);
    });
    checkRules(rules, root, (rule) => names.find(([, id]) => id === rule)?.[0]);
    return flatten(rules, root);
  }

  #parseRule(): void {
    const scanner = this.#scanner;
    const name = scanner.name();
    if (name === undefined) throw scanner.fail("expected the name of a rule");
    const rule = this.#ruleOf(name);
    if (this.#rules[rule] !== undefined) throw scanner.fail(`the rule ${name.slice(0, 64)} is there twice`);
    scanner.skipSpace(false);
    scanner.expect("::=");
    scanner.skipSpace(true);
    this.#rules[rule] = this.#parseAlternatives(0);
    if (scanner.next !== "" && scanner.next !== "\r" && scanner.next !== "\n")
      throw scanner.fail("expected the end of the rule");
    scanner.skipSpace(true);
  }

  #parseAlternatives(depth: number): readonly (readonly GrammarElement[])[] {
    const alternatives = [this.#parseSequence(depth)];
    this.#count(1);
    while (this.#scanner.take("|")) {
      this.#scanner.skipSpace(true);
      this.#count(1);
      alternatives.push(this.#parseSequence(depth));
    }
    return alternatives;
  }

  #parseSequence(depth: number): readonly GrammarElement[] {
    const scanner = this.#scanner;
    const sequence: GrammarElement[] = [];
    let last: readonly GrammarElement[] | undefined;
    for (;;) {
      const times = this.#parseRepetition();
      if (times !== undefined) {
        if (last === undefined) throw scanner.fail("nothing is there to be repeated");
        sequence.length -= last.length;
        last = this.#repeat(last, times);
      } else {
        last = this.#parseItem(depth);
        if (last === undefined) return sequence;
        this.#count(last.length);
      }
      for (const element of last) sequence.push(element);
      scanner.skipSpace(depth > 0);
    }
  }

  #parseItem(depth: number): readonly GrammarElement[] | undefined {
    const scanner = this.#scanner;
    if (scanner.take('"')) return this.#parseLiteral();
    if (scanner.take("[")) return [this.#parseSet()];
    if (scanner.take(".")) return [{ kind: "char", ranges: [0, LAST_CODE_POINT], negated: false }];
    if (scanner.take("(")) return [this.#parseGroup(depth + 1)];
    if (scanner.next === "<" || scanner.next === "!")
      throw scanner.fail("references to single tokens are not supported");
    const name = scanner.name();
    return name === undefined ? undefined : [{ kind: "rule", rule: this.#ruleOf(name) }];
  }

  #parseLiteral(): readonly GrammarElement[] {
    const characters: GrammarElement[] = [];
    while (!this.#scanner.take('"')) {
      const point = this.#scanner.codePoint();
      characters.push({ kind: "char", ranges: [point, point], negated: false });
    }
    return characters;
  }

  #parseSet(): CharElement {
    const scanner = this.#scanner;
    const negated = scanner.take("^");
    const ranges: number[] = [];
    while (!scanner.take("]")) {
      const first = scanner.codePoint();
      let end = first;
      if (scanner.take("-")) {
        if (scanner.sees("]")) ranges.push(0x2d, 0x2d);
        else end = scanner.codePoint();
      }
      if (end < first) throw scanner.fail("a range of a set ends before it begins");
      ranges.push(first, end);
      this.#count(1);
    }
    if (ranges.length === 0) throw scanner.fail("a set is empty");
    return { kind: "char", ranges, negated };
  }

  #parseGroup(depth: number): GrammarElement {
    const scanner = this.#scanner;
    if (depth > GRAMMAR_LIMITS.nesting)
      throw scanner.fail(`groups lie more than ${GRAMMAR_LIMITS.nesting} deep in one another`);
    scanner.skipSpace(true);
    const rule = this.#addRule(undefined);
    this.#rules[rule] = this.#parseAlternatives(depth);
    scanner.expect(")");
    return { kind: "rule", rule };
  }

  #parseRepetition(): { readonly least: number; readonly most: number } | undefined {
    const scanner = this.#scanner;
    if (scanner.take("*")) return { least: 0, most: Number.POSITIVE_INFINITY };
    if (scanner.take("+")) return { least: 1, most: Number.POSITIVE_INFINITY };
    if (scanner.take("?")) return { least: 0, most: 1 };
    if (!scanner.take("{")) return undefined;
    scanner.skipSpace(false);
    const least = scanner.number();
    if (least === undefined) throw scanner.fail("expected how often it is repeated");
    let most: number | undefined = least;
    scanner.skipSpace(false);
    if (scanner.take(",")) {
      scanner.skipSpace(false);
      most = scanner.number() ?? Number.POSITIVE_INFINITY;
      scanner.skipSpace(false);
    }
    scanner.expect("}");
    if (most < least) throw scanner.fail("a repetition allows less than it demands");
    return { least, most };
  }

  /** Writes a repetition out: what must be there, then a rule for each time that it may go on, or one that repeats. */
  #repeat(
    item: readonly GrammarElement[],
    { least, most }: { readonly least: number; readonly most: number },
  ): readonly GrammarElement[] {
    const repeated: GrammarElement[] = [];
    for (let i = 0; i < least; i++) {
      this.#count(item.length + 1);
      repeated.push(...item);
    }
    if (most === Number.POSITIVE_INFINITY) {
      const rule = this.#addRule(undefined);
      this.#count(item.length + 3);
      this.#rules[rule] = [[...item, { kind: "rule", rule }], []];
      return [...repeated, { kind: "rule", rule }];
    }
    let rest: readonly GrammarElement[] = [];
    for (let i = least; i < most; i++) {
      this.#count(item.length + 3);
      rest = [{ kind: "rule", rule: this.#addRule([[...item, ...rest], []]) }];
    }
    return [...repeated, ...rest];
  }

  #ruleOf(name: string): number {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const rule = this.#addRule(undefined);
    this.#names.set(name, rule);
    return rule;
  }

  #addRule(alternatives: readonly (readonly GrammarElement[])[] | undefined): number {
    this.#count(1);
    return this.#rules.push(alternatives) - 1;
  }

  #count(elements: number): void {
    this.#elements += elements;
    if (this.#elements > GRAMMAR_LIMITS.elements)
      throw this.#scanner.fail(`more than ${GRAMMAR_LIMITS.elements} elements, repetitions written out`);
  }
}

function flatten(rules: readonly (readonly (readonly GrammarElement[])[])[], root: number): Grammar {
  const elements: (GrammarElement | null)[] = [];
  const starts = rules.map((alternatives) =>
    alternatives.map((alternative) => {
      const start = elements.length;
      for (const element of alternative) elements.push(element);
      elements.push(null);
      return start;
    }),
  );
  return { elements, rules: starts, root };
}
