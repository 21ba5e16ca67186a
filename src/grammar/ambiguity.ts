import { failGrammar, type Grammar, rangesMeet } from "../gbnf/index.ts";
import { type Advance, GrammarSteps, type Stack } from "./grammar-steps.ts";
import { GRAMMAR_LIMITS } from "./limits.ts";

/** Two readings of the same text, side by side: what each still has to read above what they have in common. */
interface Twins {
  readonly a: Stack;
  readonly b: Stack;
  /** Rule whose end comes when a stack is empty. */
  readonly base: number;
}

interface Fork extends Twins {
  /** Rules that both readings go through alike while they last. */
  readonly inner: Set<number>;
}

/** Forks that can lie within one another: each doubles the readings. */
const MAX_NESTED_FORKS = 4;
/** Places above what two readings have in common. */
const MAX_STACK = 64;

/**
 * Refuses a grammar for which whoever follows it could need ever more stacks, one for each reading of the text so far.
 * Readings that come to the same stack are one again and do no harm; those that keep different things to be read below
 * are not.
 *
 * Where two readings of one character part (a fork), both are followed side by side until one of them can't go on, or
 * they meet. While they go through the same rules with different stacks below, these rules must not have the same fork
 * in them, nor many others: each would double the readings. The test errs on the safe side: what lies below the part
 * of a stack that is known can be anything.
 *
 * @throws NoodleError GRAMMAR_INVALID naming the rule
 */
export function checkAmbiguity(grammar: Grammar): void {
  new AmbiguityCheck(grammar).run();
}

class AmbiguityCheck {
  readonly #grammar: Grammar;
  readonly #steps: GrammarSteps;
  /** For each rule, the places where its users go on; users that end with it hand on to theirs. */
  readonly #returns: readonly ReadonlySet<number>[];
  readonly #forks = new Map<string, Fork>();
  #stepsTotal = 0;

  constructor(grammar: Grammar) {
    this.#grammar = grammar;
    this.#steps = new GrammarSteps(grammar);
    this.#returns = listReturns(grammar);
  }

  run(): void {
    const { elements, rules, root } = this.#grammar;
    const reached = this.#steps.reachOf(root);
    const first = (rules[root]?.starts ?? []).filter((start) => !this.#steps.isEnd(start));
    const stacks = first.flatMap((start) => this.#steps.advance([start]).stacks);
    this.#addForks(stacks, stacks, [], root);
    for (let place = 0; place < elements.length; place++) {
      const rule = this.#steps.ruleOf(place);
      if (this.#steps.charsAt(place) !== undefined && reached.has(rule))
        this.#scanBehind(this.#steps.readTop([place]), rule);
    }
    const goesOn = new Set([...reached].flatMap((rule) => [...(this.#returns[rule] ?? [])]));
    for (const place of goesOn) this.#scanBehind([place], this.#steps.ruleOf(place));
    for (const fork of this.#forks.values()) this.#follow(fork);
    this.#checkNesting();
  }

  /** Finds the forks behind a place: in its own rule, and between that and what the rule returns to. */
  #scanBehind(rest: Stack, rule: number): void {
    this.#count();
    const { stacks, ends } = this.#steps.advance(rest);
    this.#addForks(stacks, stacks, [], rule);
    if (ends && stacks.length > 0) this.#scanBelow(stacks, rule, []);
  }

  /** Forks of what lies above the end of `rule` with what lies below, through rules that can be empty from there on. */
  #scanBelow(above: readonly Stack[], rule: number, below: readonly number[]): void {
    for (const goOn of this.#returns[rule] ?? []) {
      if (below.includes(goOn)) continue;
      this.#count();
      const { stacks, ends } = this.#steps.advance([goOn]);
      const lift = [goOn, ...below];
      const outer = this.#steps.ruleOf(goOn);
      this.#addForks(above, stacks, lift, outer);
      if (ends) this.#scanBelow(above, outer, lift);
    }
  }

  /**
   * Pairs of stacks, one of each list, that can read the same character; of one list with itself each pair once.
   *
   * @param lift what lies below the stacks of the first list
   */
  #addForks(left: readonly Stack[], right: readonly Stack[], lift: readonly number[], base: number): void {
    for (const [i, above] of left.entries()) {
      for (const b of left === right ? right.slice(i + 1) : right) {
        this.#count();
        if (!this.#canMeet(above, b)) continue;
        const a = [...lift, ...above];
        this.#forks.set(keyOf({ a, b, base }), { a, b, base, inner: new Set() });
      }
    }
  }

  #canMeet(a: Stack, b: Stack): boolean {
    const [top, other] = [topOf(a), topOf(b)];
    return top === other || rangesMeet(this.#steps.charsAt(top) ?? [], this.#steps.charsAt(other) ?? []);
  }

  #follow(fork: Fork): void {
    const done = new Set<string>();
    const todo: Twins[] = [fork];
    for (let twins = todo.pop(); twins !== undefined; twins = todo.pop()) {
      const key = keyOf(twins);
      if (done.has(key)) continue;
      done.add(key);
      this.#count();
      todo.push(...this.#nextTwins(twins, fork));
    }
  }

  #nextTwins(twins: Twins, fork: Fork): Twins[] {
    const { a, b, base } = twins;
    if (a.length > MAX_STACK || b.length > MAX_STACK) this.#refuse(fork);
    const shared = countShared(a, b);
    if (shared === 0) return this.#pair(this.#steps.readTop(a), this.#steps.readTop(b), base);
    // The same stack: one reading again.
    if (shared === a.length && shared === b.length) return [];
    // What both have on top is read alike; only what lies below can part them.
    for (const place of a.slice(a.length - shared)) {
      fork.inner.add(this.#steps.ruleOf(place));
      for (const rule of this.#steps.rulesFrom(place)) {
        this.#count();
        if (!fork.inner.has(rule)) for (const inner of this.#steps.reachOf(rule)) fork.inner.add(inner);
      }
    }
    if (this.#isWithin(fork, fork)) this.#refuse(fork);
    return this.#pair(a.slice(0, -shared), b.slice(0, -shared), base);
  }

  #pair(a: Stack, b: Stack, base: number): Twins[] {
    const [left, right] = [this.#steps.advance(a), this.#steps.advance(b)];
    const twins = this.#match(left.stacks, right.stacks, base);
    if (left.ends !== right.ends || (left.ends && left.stacks.length + right.stacks.length > 0))
      for (const goOn of this.#returns[base] ?? []) twins.push(...this.#pairBelow(left, right, goOn, []));
    return twins;
  }

  /** At least one of the readings leaves the known part of its stack, for `goOn`. */
  #pairBelow(left: Advance, right: Advance, goOn: number, seen: readonly number[]): Twins[] {
    if (seen.includes(goOn)) return [];
    this.#count();
    const { stacks, ends } = this.#steps.advance([goOn]);
    const outer = this.#steps.ruleOf(goOn);
    const lift = (side: Advance): Advance => ({
      stacks: side.stacks.map((stack) => [goOn, ...stack]),
      ends: side.ends,
    });
    const [a, b] = [lift(left), lift(right)];
    const twins = [
      ...(b.ends ? this.#match(a.stacks, stacks, outer) : []),
      ...(a.ends ? this.#match(stacks, b.stacks, outer) : []),
    ];
    if (!ends) return twins;
    for (const next of this.#returns[outer] ?? []) twins.push(...this.#pairBelow(a, b, next, [...seen, goOn]));
    return twins;
  }

  #match(left: readonly Stack[], right: readonly Stack[], base: number): Twins[] {
    const twins: Twins[] = [];
    for (const a of left) {
      for (const b of right) {
        this.#count();
        if (this.#canMeet(a, b)) twins.push({ a, b, base });
      }
    }
    return twins;
  }

  #isWithin(fork: Fork, outer: Fork): boolean {
    return outer.inner.has(fork.base);
  }

  #checkNesting(): void {
    const lasting = [...this.#forks.values()].filter((fork) => fork.inner.size > 0);
    let level = lasting;
    for (let depth = 1; level.length > 0; depth++) {
      const [outer] = level;
      if (depth > MAX_NESTED_FORKS && outer !== undefined) this.#refuse(outer);
      const inner = new Set<Fork>();
      for (const one of level) {
        for (const other of lasting) {
          this.#count();
          if (this.#isWithin(other, one)) inner.add(other);
        }
      }
      level = [...inner];
    }
  }

  #count(): void {
    this.#stepsTotal += 1;
    if (this.#stepsTotal > GRAMMAR_LIMITS.ambiguitySteps)
      failGrammar("the grammar leaves too many ways open to read a text: let its alternatives begin differently");
  }

  #refuse(fork: Fork): never {
    const names = [fork.a, fork.b].map((stack) => this.#grammar.rules[this.#steps.ruleOf(topOf(stack))]?.name ?? "");
    const where = [...new Set(names)].map((name) => `\`${name}\``).join(" and ");
    return failGrammar(
      `the grammar is ambiguous at ${where}: a text can be read in more and more ways, the longer it gets`,
      { rules: names },
    );
  }
}

function topOf(stack: Stack): number {
  return stack.at(-1) ?? -1;
}

function keyOf({ a, b, base }: Twins): string {
  return `${base}|${a.join()}|${b.join()}`;
}

/** Places that are the same from the top down. */
function countShared(a: Stack, b: Stack): number {
  let shared = 0;
  while (shared < a.length && shared < b.length && a.at(-1 - shared) === b.at(-1 - shared)) shared += 1;
  return shared;
}

function listReturns(grammar: Grammar): readonly ReadonlySet<number>[] {
  const own: Set<number>[] = grammar.rules.map(() => new Set());
  /** For each rule, the other rules that end with it. */
  const endedBy: Set<number>[] = grammar.rules.map(() => new Set());
  for (const [rule, { starts }] of grammar.rules.entries()) {
    for (const start of starts) {
      for (let place = start; grammar.elements[place]?.type !== "end"; place++) {
        const element = grammar.elements[place];
        if (element?.type !== "rule") continue;
        if (grammar.elements[place + 1]?.type !== "end") own[element.rule]?.add(place + 1);
        else if (element.rule !== rule) endedBy[element.rule]?.add(rule);
      }
    }
  }
  const returns = new Map<number, ReadonlySet<number>>();
  for (const rule of grammar.rules.keys()) {
    // A long repetition is a chain of rules, each ended by the one before: all return to the same places.
    const chain = new Set([rule]);
    let last = rule;
    while (!returns.has(last) && own[last]?.size === 0 && endedBy[last]?.size === 1) {
      const [outer = last] = endedBy[last] ?? [];
      if (chain.has(outer)) break;
      chain.add(outer);
      last = outer;
    }
    const shared = returns.get(last) ?? collectReturns(last, own, endedBy);
    for (const one of chain) returns.set(one, shared);
  }
  return grammar.rules.map((_, rule) => returns.get(rule) ?? new Set());
}

function collectReturns(
  rule: number,
  own: readonly ReadonlySet<number>[],
  endedBy: readonly ReadonlySet<number>[],
): ReadonlySet<number> {
  const users = new Set([rule]);
  for (const user of users) for (const outer of endedBy[user] ?? []) users.add(outer);
  return new Set([...users].flatMap((user) => [...(own[user] ?? [])]));
}
