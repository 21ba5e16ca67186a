import { orderRules } from "./check-rules.ts";
import { readClass, readLiteral } from "./characters.ts";
import { GbnfScanner, isNameCharacter } from "./gbnf-scanner.ts";
import { type CharRanges, failGrammar, type Grammar, type GrammarElement, MAX_CODE_POINT } from "./grammar.ts";
import { GBNF_LIMITS } from "./limits.ts";

type Element = Exclude<GrammarElement, { type: "end" }>;
type Alternatives = Element[][];

interface DraftRule {
  readonly name: string;
  /** Where the name was first seen, as an offset. */
  readonly seenAt: number;
  alternatives: Alternatives | undefined;
}

const ANY: CharRanges = [[0, MAX_CODE_POINT]];

/**
 * Reads a GBNF text as llama.cpp does and writes groups and repetitions out as it does, but refuses what that takes
 * badly: it hangs on `{3,2}`, overflows its stack on deep parentheses, and reads `{0,5000}` as "any number". Tokens by
 * name or number are not taken.
 *
 * @throws NoodleError GRAMMAR_INVALID with line and column; for rules that are missing, begin with themselves or never
 * end; and beyond GBNF_LIMITS
 */
export function parseGrammar(source: string): Grammar {
  if (source.length > GBNF_LIMITS.chars)
    failGrammar(`the grammar has ${source.length} characters, the limit is ${GBNF_LIMITS.chars}`);
  const grammar = new GbnfParser(source).parse();
  orderRules(grammar);
  return grammar;
}

class GbnfParser {
  readonly #scanner: GbnfScanner;
  #depth = 0;
  #elementsTotal = 0;
  /** The rule that is read: the rules that its groups and repetitions become have its name. */
  #ruleName = "";
  readonly #rules: DraftRule[] = [];
  readonly #byName = new Map<string, number>();

  constructor(source: string) {
    this.#scanner = new GbnfScanner(source);
  }

  parse(): Grammar {
    const scanner = this.#scanner;
    scanner.skipSpace(true);
    while (!scanner.atEnd) this.#readRule();
    const root = this.#byName.get("root");
    if (root === undefined) failGrammar("the grammar has no rule `root`");
    return this.#layOut(root);
  }

  #readRule(): void {
    const scanner = this.#scanner;
    const start = scanner.at;
    const name = scanner.readName();
    scanner.skipSpace(false);
    if (!scanner.take("::=")) scanner.fail("expected `::=`");
    scanner.skipSpace(true);
    const rule = this.#findRule(name, start);
    if (this.#rules[rule]?.alternatives !== undefined) scanner.fail(`the rule \`${name}\` is there twice`, start);
    this.#ruleName = name;
    this.#setAlternatives(rule, this.#readAlternatives(false));
    if (!scanner.atEnd && scanner.next !== "\n" && scanner.next !== "\r")
      scanner.fail("expected a new line or the end");
    scanner.skipSpace(true);
  }

  #readAlternatives(nested: boolean): Alternatives {
    const alternatives = [this.#readSequence(nested)];
    while (this.#scanner.take("|")) {
      this.#scanner.skipSpace(true);
      alternatives.push(this.#readSequence(nested));
    }
    return alternatives;
  }

  #readSequence(nested: boolean): Element[] {
    const scanner = this.#scanner;
    const sequence: Element[] = [];
    let last: { start: number; rules: number } | undefined;
    for (;;) {
      const before = this.#rules.length;
      if ("*+?{".includes(scanner.next) && !scanner.atEnd) {
        if (last === undefined || last.start === sequence.length) return scanner.fail("nothing to repeat");
        last.rules = this.#repeat(sequence, last.start, last.rules, this.#readCounts(nested));
        continue;
      }
      const isGroup = scanner.sees("(");
      const items = this.#readItem();
      if (items === undefined) return sequence;
      last = { start: sequence.length, rules: isGroup ? this.#rules.length - before : 1 };
      for (const item of items) sequence.push(item);
      scanner.skipSpace(nested);
    }
  }

  /** @returns undefined where the sequence ends */
  #readItem(): Element[] | undefined {
    const scanner = this.#scanner;
    const start = scanner.at;
    if (scanner.sees('"')) return readLiteral(scanner).map((point) => ({ type: "chars", ranges: [[point, point]] }));
    if (scanner.sees("[")) return [{ type: "chars", ranges: readClass(scanner) }];
    if (scanner.take(".")) return [{ type: "chars", ranges: ANY }];
    if (scanner.sees("(")) return [{ type: "rule", rule: this.#readGroup() }];
    if (scanner.sees("<") || scanner.sees("!")) scanner.fail("tokens of a vocabulary can't be named here: write text");
    if (!isNameCharacter(scanner.next)) return undefined;
    return [{ type: "rule", rule: this.#findRule(scanner.readName(), start) }];
  }

  #readGroup(): number {
    const scanner = this.#scanner;
    this.#depth += 1;
    if (this.#depth > GBNF_LIMITS.groupDepth)
      scanner.fail(`more than ${GBNF_LIMITS.groupDepth} parentheses within one another`);
    const start = scanner.at;
    scanner.take("(");
    scanner.skipSpace(true);
    const rule = this.#addRule(this.#ruleName, start);
    const alternatives = this.#readAlternatives(true);
    if (!scanner.take(")")) scanner.fail(scanner.atEnd ? "the group has no closing `)`" : "expected `)`");
    this.#depth -= 1;
    this.#setAlternatives(rule, alternatives);
    return rule;
  }

  #readCounts(nested: boolean): { min: number; max: number | undefined } {
    const scanner = this.#scanner;
    const isPlus = scanner.take("+");
    const isMaybe = scanner.take("?");
    if (isPlus || isMaybe || scanner.take("*")) {
      scanner.skipSpace(nested);
      return { min: isPlus ? 1 : 0, max: isMaybe ? 1 : undefined };
    }
    scanner.take("{");
    scanner.skipSpace(nested);
    const min = scanner.readCount();
    scanner.skipSpace(nested);
    let max: number | undefined = min;
    if (scanner.take(",")) {
      scanner.skipSpace(nested);
      max = scanner.next === "}" ? undefined : scanner.readCount();
      scanner.skipSpace(nested);
    }
    if (scanner.next !== "}") scanner.fail("expected `}`");
    if (max !== undefined && max < min) scanner.fail(`{${min},${max}}: the first count is the larger one`);
    scanner.take("}");
    scanner.skipSpace(nested);
    return { min, max };
  }

  /** Writes `x{min,max}` out: x min times, then a chain of rules that may end anywhere. @returns rules that it stands for */
  #repeat(
    sequence: Element[],
    start: number,
    rulesBefore: number,
    { min, max }: { min: number; max: number | undefined },
  ): number {
    const rules = rulesBefore * Math.max(1, max ?? min);
    if (rules > GBNF_LIMITS.repetition)
      this.#scanner.fail(
        `the repetition stands for ${rules} rules, the limit is ${GBNF_LIMITS.repetition}: name the group`,
      );
    const item = sequence.splice(start);
    this.#count(item.length * min);
    for (let i = 0; i < min; i++) for (const element of item) sequence.push(element);
    let rest: number | undefined;
    const addRest = (make: (self: number) => Element[]): void => {
      const rule = this.#addRule(this.#ruleName, this.#scanner.at);
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

  #findRule(name: string, seenAt: number): number {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const rule = this.#addRule(name, seenAt);
    this.#byName.set(name, rule);
    return rule;
  }

  #addRule(name: string, seenAt: number): number {
    if (this.#rules.length >= GBNF_LIMITS.rules)
      this.#scanner.fail(`more than ${GBNF_LIMITS.rules} rules once repetitions are written out`);
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
    if (this.#elementsTotal > GBNF_LIMITS.elements)
      this.#scanner.fail(`more than ${GBNF_LIMITS.elements} elements once repetitions are written out`);
  }

  #layOut(root: number): Grammar {
    const elements: GrammarElement[] = [];
    const rules = this.#rules.map(({ name, seenAt, alternatives }) => {
      if (alternatives === undefined) return this.#scanner.fail(`the rule \`${name}\` is not defined`, seenAt);
      const starts = alternatives.map((alternative) => {
        const start = elements.length;
        for (const element of alternative) elements.push(element);
        elements.push({ type: "end" });
        return start;
      });
      return { name, starts };
    });
    return { elements, rules, root };
  }
}
