import type { CharRanges, Grammar } from "../gbnf/index.ts";

/** Places that are still to be read, the next one last; no place is the end of an alternative. */
export type Stack = readonly number[];

export interface Advance {
  /** With characters on top. */
  readonly stacks: readonly Stack[];
  /** All of the stack can be read without a character. */
  readonly ends: boolean;
}

/** Walks a grammar: a stack becomes all stacks that have a character on top. */
export class GrammarSteps {
  readonly grammar: Grammar;
  readonly #byPlace = new Map<number, Advance>();
  #ruleByPlace: Int32Array | undefined;
  readonly #reach = new Map<number, ReadonlySet<number>>();

  constructor(grammar: Grammar) {
    this.grammar = grammar;
  }

  /** The characters at a place; undefined where there is a rule or an end. */
  charsAt(place: number): CharRanges | undefined {
    const element = this.grammar.elements[place];
    return element?.type === "chars" ? element.ranges : undefined;
  }

  isEnd(place: number): boolean {
    return this.grammar.elements[place]?.type === "end";
  }

  ruleOf(place: number): number {
    this.#ruleByPlace ??= this.#listRules();
    return this.#ruleByPlace[place] ?? -1;
  }

  /** The stack once the character on its top is read. */
  readTop(stack: Stack): Stack {
    const top = stack.at(-1) ?? -1;
    return this.isEnd(top + 1) ? stack.slice(0, -1) : [...stack.slice(0, -1), top + 1];
  }

  advance(stack: Stack): Advance {
    const stacks: Stack[] = [];
    for (let height = stack.length; height > 0; height--) {
      const below = stack.slice(0, height - 1);
      const { stacks: above, ends } = this.#advancePlace(stack[height - 1] ?? -1);
      for (const one of above) stacks.push([...below, ...one]);
      if (!ends) return { stacks, ends: false };
    }
    return { stacks, ends: true };
  }

  /** Rules that can be reached downwards from a rule, itself included. */
  reachOf(rule: number): ReadonlySet<number> {
    const known = this.#reach.get(rule);
    if (known !== undefined) return known;
    const reach = new Set([rule]);
    for (const one of reach) {
      for (const start of this.grammar.rules[one]?.starts ?? []) {
        for (const inner of this.rulesFrom(start)) reach.add(inner);
      }
    }
    this.#reach.set(rule, reach);
    return reach;
  }

  /** Rules that are named from a place to the end of its alternative. */
  rulesFrom(place: number): number[] {
    const rules: number[] = [];
    for (let at = place; !this.isEnd(at) && at < this.grammar.elements.length; at++) {
      const element = this.grammar.elements[at];
      if (element?.type === "rule") rules.push(element.rule);
    }
    return rules;
  }

  #advancePlace(place: number): Advance {
    const known = this.#byPlace.get(place);
    if (known !== undefined) return known;
    const stacks: Stack[] = [];
    let ends = false;
    const seen = new Set<string>();
    const todo: Stack[] = [[place]];
    for (let stack = todo.pop(); stack !== undefined; stack = todo.pop()) {
      const key = stack.join(",");
      if (seen.has(key)) continue;
      seen.add(key);
      const top = stack.at(-1);
      if (top === undefined) {
        ends = true;
        continue;
      }
      const element = this.grammar.elements[top];
      if (element?.type !== "rule") {
        stacks.push(stack);
        continue;
      }
      const below = this.isEnd(top + 1) ? stack.slice(0, -1) : [...stack.slice(0, -1), top + 1];
      for (const start of this.grammar.rules[element.rule]?.starts ?? [])
        todo.push(this.isEnd(start) ? below : [...below, start]);
    }
    const result = { stacks, ends };
    this.#byPlace.set(place, result);
    return result;
  }

  #listRules(): Int32Array {
    const rules = new Int32Array(this.grammar.elements.length);
    for (const [rule, { starts }] of this.grammar.rules.entries()) {
      for (const start of starts) {
        for (let place = start; ; place++) {
          rules[place] = rule;
          if (this.isEnd(place) || place >= rules.length) break;
        }
      }
    }
    return rules;
  }
}
