import { must } from "../common/index.ts";
import { type Grammar, type CharRanges, rangesHold } from "../gbnf/index.ts";
import { parseGrammar } from "../gbnf/index.ts";
import { GrammarSteps, type Stack } from "./grammar-steps.ts";

/** Whether a text fits a grammar as a whole, found by following all readings at once. */
export function fitsGrammar(gbnf: string, text: string): boolean {
  const grammar = parseGrammar(gbnf);
  const steps = new GrammarSteps(grammar);
  const first = must(grammar.rules[grammar.root], "root").starts;
  let ends = first.some((start) => steps.isEnd(start));
  let stacks: Stack[] = [];
  const take = (next: readonly Stack[]): void => {
    const byKey = new Map<string, Stack>();
    ends = false;
    for (const stack of next) {
      const advanced = stack.length === 0 ? { stacks: [], ends: true } : steps.advance(stack);
      ends ||= advanced.ends;
      for (const one of advanced.stacks) byKey.set(one.join(), one);
    }
    stacks = [...byKey.values()];
  };
  take(first.map((start): Stack => (steps.isEnd(start) ? [] : [start])));
  for (const character of text) {
    const codePoint = must(character.codePointAt(0), "code point");
    const fitting = stacks.filter((stack) => rangesHold(steps.charsAt(must(stack.at(-1), "top")) ?? [], codePoint));
    if (fitting.length === 0) return false;
    take(fitting.map((stack) => steps.readTop(stack)));
  }
  return ends;
}

/** A text of the grammar. @param random 0 to 1 @param steps alternatives chosen at random before the shortest are taken */
export function makeText(gbnf: string, random: () => number, steps: number): string {
  const grammar = parseGrammar(gbnf);
  const shortest = findShortest(grammar);
  const costOf = (start: number): number => {
    let cost = 0;
    for (let place = start; ; place++) {
      const element = must(grammar.elements[place], "element");
      if (element.type === "end") return cost;
      cost += element.type === "chars" ? 1 : (shortest[element.rule] ?? Infinity);
    }
  };
  let left = steps;
  let text = "";
  const todo: number[] = [];
  const open = (rule: number): void => {
    const { starts } = must(grammar.rules[rule], "rule");
    left -= 1;
    const choice =
      left > 0 ? starts[Math.floor(random() * starts.length)] : starts.toSorted((a, b) => costOf(a) - costOf(b))[0];
    todo.push(must(choice, "alternative"));
  };
  open(grammar.root);
  for (let place = todo.pop(); place !== undefined; place = todo.pop()) {
    const element = must(grammar.elements[place], "element");
    if (element.type === "end") continue;
    todo.push(place + 1);
    if (element.type === "rule") open(element.rule);
    else text += String.fromCodePoint(chooseFrom(element.ranges, random));
  }
  return text;
}

function chooseFrom(ranges: CharRanges, random: () => number): number {
  const [first, last] = must(ranges[Math.floor(random() * ranges.length)], "range");
  // Far ranges are mostly taken at their beginning.
  const codePoint = first + Math.floor(random() * Math.min(last - first + 1, 300));
  return codePoint >= 0xd800 && codePoint <= 0xdfff ? first : codePoint;
}

function findShortest(grammar: Grammar): number[] {
  const shortest = grammar.rules.map(() => Infinity);
  for (let changed = true; changed; ) {
    changed = false;
    for (const [rule, { starts }] of grammar.rules.entries()) {
      for (const start of starts) {
        let cost = 1;
        for (let place = start; grammar.elements[place]?.type !== "end"; place++) {
          const element = must(grammar.elements[place], "element");
          if (element.type !== "end") cost += element.type === "chars" ? 1 : (shortest[element.rule] ?? Infinity);
        }
        if (cost < (shortest[rule] ?? Infinity)) {
          shortest[rule] = cost;
          changed = true;
        }
      }
    }
  }
  return shortest;
}

type Schema = Readonly<Record<string, unknown>>;

/** Whether a document is valid: the keywords that grammars are made of, as JSON Schema defines them. */
export function isValidDocument(value: unknown, schema: unknown, root: unknown = schema): boolean {
  if (typeof schema === "boolean") return schema;
  const node = schema as Schema;
  const check = (inner: unknown, item: unknown = value): boolean => isValidDocument(item, inner, root);
  const list = (keyword: string): readonly unknown[] => (node[keyword] ?? []) as readonly unknown[];
  const number = (keyword: string, otherwise: number): number => (node[keyword] ?? otherwise) as number;
  if (value === null && node["nullable"] === true) return true;
  if (typeof node["$ref"] === "string" && !check(lookUp(node["$ref"], root))) return false;
  if ("type" in node && ![node["type"]].flat().some((type) => isOfType(value, type))) return false;
  if ("const" in node && !isSame(value, node["const"])) return false;
  if ("enum" in node && !list("enum").some((member) => isSame(member, value))) return false;
  if (!list("allOf").every((inner) => check(inner))) return false;
  if ("anyOf" in node && !list("anyOf").some((inner) => check(inner))) return false;
  if ("oneOf" in node && list("oneOf").filter((inner) => check(inner)).length !== 1) return false;
  if (typeof value === "string") {
    const length = Array.from(value).length;
    const { pattern } = node as { pattern?: string };
    if (pattern !== undefined && !new RegExp(pattern, "u").test(value)) return false;
    return length >= number("minLength", 0) && length <= number("maxLength", Infinity);
  }
  if (typeof value === "number") {
    if (value < number("minimum", -Infinity) || value > number("maximum", Infinity)) return false;
    return value > number("exclusiveMinimum", -Infinity) && value < number("exclusiveMaximum", Infinity);
  }
  if (Array.isArray(value)) {
    const prefix = list("prefixItems");
    if (value.length < number("minItems", 0) || value.length > number("maxItems", Infinity)) return false;
    return value.every((item, index) => check(index < prefix.length ? prefix[index] : (node["items"] ?? true), item));
  }
  if (typeof value !== "object" || value === null) return true;
  const properties = (node["properties"] ?? {}) as Schema;
  return (
    list("required").every((key) => Object.hasOwn(value, key as string)) &&
    Object.entries(value).every(([key, item]) =>
      check(Object.hasOwn(properties, key) ? properties[key] : (node["additionalProperties"] ?? true), item),
    )
  );
}

function lookUp(ref: string, root: unknown): unknown {
  return ref
    .split("/")
    .slice(1)
    .reduce<unknown>((at, part) => (at as Schema)[part.replaceAll("~1", "/").replaceAll("~0", "~")], root);
}

function isOfType(value: unknown, type: unknown): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}

function isSame(a: unknown, b: unknown): boolean {
  const sort = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(sort)
      : typeof value === "object" && value !== null
        ? Object.entries(value)
            .toSorted(([x], [y]) => (x < y ? -1 : 1))
            .map(([key, item]) => [key, sort(item)])
        : value;
  return JSON.stringify(sort(a)) === JSON.stringify(sort(b));
}
