import { type CharRanges, failGrammar, type Grammar, type GrammarElement, invertRanges, joinRanges } from "./gbnf.ts";
import { GRAMMAR_LIMITS } from "./limits.ts";

type Element = Exclude<GrammarElement, { type: "end" }>;
type Alternatives = Element[][];

interface DraftRule {
  readonly name: string;
  /** Where the name was first seen, as an offset. */
  readonly seenAt: number;
  alternatives: Alternatives | undefined;
}

const ANY: CharRanges = [[0, 0x10ffff]];
const ESCAPES: Readonly<Record<string, string>> = {
  t: "\t",
  r: "\r",
  n: "\n",
  "\\": "\\",
  '"': '"',
  "[": "[",
  "]": "]",
  "-": "-",
};
const HEX_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/**
 * Reads a GBNF text as llama.cpp does and writes groups and repetitions out as it does, but refuses what that takes
 * badly: it hangs on `{3,2}`, overflows its stack on deep parentheses, and reads `{0,5000}` as "any number". Tokens by
 * name or number are not taken.
 *
 * @throws NoodleError GRAMMAR_INVALID with line and column
 */
export function parseGrammar(source: string): Grammar {
  return new GbnfParser(source).parse();
}

class GbnfParser {
  readonly #source: string;
  #at = 0;
  #depth = 0;
  #elementsTotal = 0;
  /** The rule that is read: the rules that its groups and repetitions become have its name. */
  #ruleName = "";
  readonly #rules: DraftRule[] = [];
  readonly #byName = new Map<string, number>();

  constructor(source: string) {
    this.#source = source;
  }

  parse(): Grammar {
    const nul = this.#source.indexOf("\0");
    if (nul >= 0) this.#fail("the text holds a NUL character", nul);
    this.#skipSpace(true);
    while (!this.#atEnd()) this.#readRule();
    const root = this.#byName.get("root");
    if (root === undefined) failGrammar("the grammar has no rule `root`");
    return this.#layOut(root);
  }

  #readRule(): void {
    const start = this.#at;
    const name = this.#readName();
    this.#skipSpace(false);
    if (!this.#source.startsWith("::=", this.#at)) this.#fail("expected `::=`");
    this.#at += 3;
    this.#skipSpace(true);
    const rule = this.#findRule(name, start);
    if (this.#rules[rule]?.alternatives !== undefined) this.#fail(`the rule \`${name}\` is there twice`, start);
    this.#ruleName = name;
    this.#setAlternatives(rule, this.#readAlternatives(false));
    if (!this.#atEnd() && this.#peek() !== "\n" && this.#peek() !== "\r") this.#fail("expected a new line or the end");
    this.#skipSpace(true);
  }

  #readAlternatives(nested: boolean): Alternatives {
    const alternatives = [this.#readSequence(nested)];
    while (this.#peek() === "|") {
      this.#at += 1;
      this.#skipSpace(true);
      alternatives.push(this.#readSequence(nested));
    }
    return alternatives;
  }

  #readSequence(nested: boolean): Element[] {
    const sequence: Element[] = [];
    let last: { start: number; rules: number } | undefined;
    for (;;) {
      const before = this.#rules.length;
      const character = this.#peek();
      if (character === "*" || character === "+" || character === "?" || character === "{") {
        if (last === undefined || last.start === sequence.length) this.#fail("nothing to repeat");
        last.rules = this.#repeat(sequence, last.start, last.rules, this.#readCounts(nested));
        continue;
      }
      const items = this.#readItem(character);
      if (items === undefined) return sequence;
      last = { start: sequence.length, rules: character === "(" ? this.#rules.length - before : 1 };
      sequence.push(...items);
      this.#skipSpace(nested);
    }
  }

  /** @returns undefined where the sequence ends */
  #readItem(character: string): Element[] | undefined {
    if (character === '"') return this.#readLiteral();
    if (character === "[") return [{ type: "chars", ranges: this.#readClass() }];
    if (character === ".") {
      this.#at += 1;
      return [{ type: "chars", ranges: ANY }];
    }
    if (character === "(") return [{ type: "rule", rule: this.#readGroup() }];
    if (character === "<" || character === "!") this.#fail("tokens of a vocabulary can't be named here: write text");
    if (!isNameCharacter(character)) return undefined;
    const start = this.#at;
    return [{ type: "rule", rule: this.#findRule(this.#readName(), start) }];
  }

  #readLiteral(): Element[] {
    const start = this.#at;
    this.#at += 1;
    const characters: Element[] = [];
    while (this.#peek() !== '"') {
      if (this.#atEnd()) this.#fail('the text has no closing `"`', start);
      const codePoint = this.#readCharacter();
      characters.push({ type: "chars", ranges: [[codePoint, codePoint]] });
    }
    this.#at += 1;
    return characters;
  }

  #readClass(): CharRanges {
    const start = this.#at;
    this.#at += 1;
    const inverted = this.#peek() === "^";
    if (inverted) this.#at += 1;
    const ranges: [number, number][] = [];
    while (this.#peek() !== "]") {
      if (this.#atEnd()) this.#fail("the class has no closing `]`", start);
      const first = this.#readCharacter(true);
      let last = first;
      if (this.#peek() === "-" && this.#source[this.#at + 1] !== "]") {
        this.#at += 1;
        if (this.#atEnd()) this.#fail("the class has no closing `]`", start);
        last = this.#readCharacter(true);
        if (last < first) this.#fail("the range is the wrong way round");
      }
      ranges.push([first, last]);
    }
    this.#at += 1;
    const joined = joinRanges(ranges);
    const result = inverted ? invertRanges(joined) : joined;
    if (ranges.length === 0 || result.every(([, last]) => last === 0))
      this.#fail("the class holds no character", start);
    return result;
  }

  #readGroup(): number {
    this.#depth += 1;
    if (this.#depth > GRAMMAR_LIMITS.groupDepth)
      this.#fail(`more than ${GRAMMAR_LIMITS.groupDepth} parentheses within one another`);
    const start = this.#at;
    this.#at += 1;
    this.#skipSpace(true);
    const rule = this.#addRule(this.#ruleName, start);
    const alternatives = this.#readAlternatives(true);
    if (this.#peek() !== ")") this.#fail(this.#atEnd() ? "the group has no closing `)`" : "expected `)`");
    this.#at += 1;
    this.#depth -= 1;
    this.#setAlternatives(rule, alternatives);
    return rule;
  }

  #readCounts(nested: boolean): { min: number; max: number | undefined } {
    const character = this.#peek();
    this.#at += 1;
    this.#skipSpace(nested);
    if (character !== "{") return { min: character === "+" ? 1 : 0, max: character === "?" ? 1 : undefined };
    const min = this.#readCount(nested);
    let max: number | undefined = min;
    if (this.#peek() === ",") {
      this.#at += 1;
      this.#skipSpace(nested);
      max = this.#peek() === "}" ? undefined : this.#readCount(nested);
    }
    if (this.#peek() !== "}") this.#fail("expected `}`");
    if (max !== undefined && max < min) this.#fail(`{${min},${max}}: the first count is the larger one`);
    this.#at += 1;
    this.#skipSpace(nested);
    return { min, max };
  }

  #readCount(nested: boolean): number {
    const digits = /^[0-9]+/.exec(this.#source.slice(this.#at, this.#at + 12))?.[0];
    if (digits === undefined) this.#fail("expected a count");
    if (Number(digits) > GRAMMAR_LIMITS.repetition)
      this.#fail(`${digits} repetitions, the limit is ${GRAMMAR_LIMITS.repetition}`);
    this.#at += digits.length;
    this.#skipSpace(nested);
    return Number(digits);
  }

  /** Writes `x{min,max}` out: x min times, then a chain of rules that may end anywhere. @returns rules that it stands for */
  #repeat(
    sequence: Element[],
    start: number,
    rulesBefore: number,
    { min, max }: { min: number; max: number | undefined },
  ): number {
    const rules = rulesBefore * Math.max(1, max ?? min);
    if (rules > GRAMMAR_LIMITS.repetition)
      this.#fail(`the repetition stands for ${rules} rules, the limit is ${GRAMMAR_LIMITS.repetition}: name the group`);
    const item = sequence.splice(start);
    this.#count(item.length * min);
    for (let i = 0; i < min; i++) sequence.push(...item);
    let rest: number | undefined;
    const addRest = (make: (self: number) => Element[]): void => {
      const rule = this.#addRule(this.#ruleName, this.#at);
      this.#setAlternatives(rule, [make(rule), []]);
      rest = rule;
    };
    if (max === undefined) addRest((self) => [...item, { type: "rule", rule: self }]);
    for (let i = min; i < (max ?? min); i++) {
      const inner: Element[] = rest === undefined ? [] : [{ type: "rule", rule: rest }];
      addRest(() => [...item, ...inner]);
    }
    if (rest !== undefined) sequence.push({ type: "rule", rule: rest });
    return rules;
  }

  #readCharacter(inClass = false): number {
    const start = this.#at;
    let codePoint = this.#source.codePointAt(this.#at) ?? 0;
    if (codePoint !== 0x5c) {
      this.#at += codePoint > 0xffff ? 2 : 1;
    } else {
      const letter = this.#source[this.#at + 1] ?? "";
      const digits = HEX_DIGITS[letter];
      if (digits === undefined) {
        const character = ESCAPES[letter];
        if (character === undefined) this.#fail(`\`\\${letter}\` is no escape`);
        this.#at += 2;
        return character.charCodeAt(0);
      }
      const hex = this.#source.slice(this.#at + 2, this.#at + 2 + digits);
      if (hex.length < digits || /[^0-9a-fA-F]/.test(hex)) this.#fail(`expected ${digits} hexadecimal digits`);
      this.#at += 2 + digits;
      codePoint = Number.parseInt(hex, 16);
    }
    if ((codePoint === 0 && !inClass) || codePoint > 0x10ffff || (codePoint >= 0xd800 && codePoint <= 0xdfff))
      this.#fail("this is no character that a model can write", start);
    return codePoint;
  }

  #readName(): string {
    const start = this.#at;
    while (isNameCharacter(this.#peek())) this.#at += 1;
    if (this.#at === start) this.#fail("expected the name of a rule");
    return this.#source.slice(start, this.#at);
  }

  #skipSpace(newlines: boolean): void {
    for (;;) {
      const character = this.#peek();
      if (character === "#") {
        while (!this.#atEnd() && this.#peek() !== "\n" && this.#peek() !== "\r") this.#at += 1;
      } else if (character === " " || character === "\t" || (newlines && (character === "\n" || character === "\r"))) {
        this.#at += 1;
      } else return;
    }
  }

  #findRule(name: string, seenAt: number): number {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const rule = this.#addRule(name, seenAt);
    this.#byName.set(name, rule);
    return rule;
  }

  #addRule(name: string, seenAt: number): number {
    if (this.#rules.length >= GRAMMAR_LIMITS.rules)
      this.#fail(`more than ${GRAMMAR_LIMITS.rules} rules once repetitions are written out`);
    this.#rules.push({ name, seenAt, alternatives: undefined });
    return this.#rules.length - 1;
  }

  #setAlternatives(rule: number, alternatives: Alternatives): void {
    for (const alternative of alternatives) this.#count(alternative.length + 1);
    const draft = this.#rules[rule];
    if (draft !== undefined) draft.alternatives = alternatives;
  }

  #count(elements: number): void {
    this.#elementsTotal += elements;
    if (this.#elementsTotal > GRAMMAR_LIMITS.elements)
      this.#fail(`more than ${GRAMMAR_LIMITS.elements} elements once repetitions are written out`);
  }

  #layOut(root: number): Grammar {
    const elements: GrammarElement[] = [];
    const rules = this.#rules.map(({ name, seenAt, alternatives }) => {
      if (alternatives === undefined) return this.#fail(`the rule \`${name}\` is not defined`, seenAt);
      const starts = alternatives.map((alternative) => {
        const start = elements.length;
        elements.push(...alternative, { type: "end" });
        return start;
      });
      return { name, starts };
    });
    return { elements, rules, root };
  }

  #peek(): string {
    return this.#source[this.#at] ?? "";
  }

  #atEnd(): boolean {
    return this.#at >= this.#source.length;
  }

  #fail(what: string, at: number = this.#at): never {
    const before = this.#source.slice(0, at).split("\n");
    const line = before.length;
    const column = (before.at(-1)?.length ?? 0) + 1;
    return failGrammar(`line ${line}, column ${column}: ${what}`, { line, column });
  }
}

function isNameCharacter(character: string): boolean {
  return /^[a-zA-Z0-9-]$/.test(character);
}
