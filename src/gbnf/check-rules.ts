import { failGrammar, type Grammar } from "./grammar.ts";

/** The rules of a grammar in an order in which each comes behind those that it can begin with. */
export interface RuleOrder {
  readonly order: readonly number[];
  /** For each rule, what its alternatives can begin with: -1 for characters, rules by number. */
  readonly firsts: readonly (readonly number[])[];
}

/**
 * Refuses rules that whoever follows them would never come to the end of.
 *
 * @throws NoodleError GRAMMAR_INVALID naming the rule
 */
export function orderRules(grammar: Grammar): RuleOrder {
  const canBeEmpty = findRules(
    grammar,
    (rule, found) =>
      grammar.rules[rule]?.starts.some((start) => readsAll(grammar, start, (inner) => found.has(inner), false)) ??
      false,
  );
  const canEnd = findRules(
    grammar,
    (rule, found) =>
      grammar.rules[rule]?.starts.some((start) => readsAll(grammar, start, (inner) => found.has(inner), true)) ?? false,
  );
  if (!canEnd.has(grammar.root)) failGrammar("no text fits the grammar: its rules never come to an end");
  return orderByFirsts(grammar, canBeEmpty);
}

/** The smallest set of rules for which `holds`, given that it holds for those of the set. */
function findRules(grammar: Grammar, holds: (rule: number, found: ReadonlySet<number>) => boolean): Set<number> {
  const users: number[][] = grammar.rules.map(() => []);
  for (const [rule, { starts }] of grammar.rules.entries()) {
    for (const start of starts) {
      for (let place = start; grammar.elements[place]?.type !== "end"; place++) {
        const element = grammar.elements[place];
        if (element?.type === "rule") users[element.rule]?.push(rule);
      }
    }
  }
  const found = new Set<number>();
  const todo = [...grammar.rules.keys()];
  for (let rule = todo.pop(); rule !== undefined; rule = todo.pop()) {
    if (found.has(rule) || !holds(rule, found)) continue;
    found.add(rule);
    todo.push(...(users[rule] ?? []));
  }
  return found;
}

function readsAll(grammar: Grammar, start: number, isFine: (rule: number) => boolean, charsAreFine: boolean): boolean {
  for (let place = start; ; place++) {
    const element = grammar.elements[place];
    if (element === undefined || element.type === "end") return true;
    if (element.type === "chars" ? !charsAreFine : !isFine(element.rule)) return false;
  }
}

/** @throws NoodleError GRAMMAR_INVALID for a rule that can begin with itself */
function orderByFirsts(grammar: Grammar, canBeEmpty: ReadonlySet<number>): RuleOrder {
  const firsts = grammar.rules.map(({ starts }) => starts.flatMap((start) => listFirsts(grammar, start, canBeEmpty)));
  const users: number[][] = grammar.rules.map(() => []);
  const open = firsts.map((list) => list.filter((first) => first >= 0).length);
  for (const [rule, list] of firsts.entries()) {
    for (const first of list) if (first >= 0) users[first]?.push(rule);
  }
  const order: number[] = [];
  const ready = [...grammar.rules.keys()].filter((rule) => open[rule] === 0);
  for (let rule = ready.pop(); rule !== undefined; rule = ready.pop()) {
    order.push(rule);
    for (const user of users[rule] ?? []) {
      open[user] = (open[user] ?? 0) - 1;
      if (open[user] === 0) ready.push(user);
    }
  }
  if (order.length === grammar.rules.length) return { order, firsts };
  const name = grammar.rules[findCircle(firsts, open)]?.name;
  return failGrammar(`the rule \`${name}\` can begin with itself: write it so that something is read first`, {
    rule: name,
  });
}

/** What an alternative can begin with: -1 for characters, rules by number. */
function listFirsts(grammar: Grammar, start: number, canBeEmpty: ReadonlySet<number>): number[] {
  const firsts: number[] = [];
  for (let place = start; ; place++) {
    const element = grammar.elements[place];
    if (element === undefined || element.type === "end") return firsts;
    if (element.type === "chars") return [...firsts, -1];
    firsts.push(element.rule);
    if (!canBeEmpty.has(element.rule)) return firsts;
  }
}

/** A rule that lies on a circle, found by walking along rules that are still open. */
function findCircle(firsts: readonly (readonly number[])[], open: readonly number[]): number {
  const seen = new Set<number>();
  let rule = open.findIndex((count) => count > 0);
  while (!seen.has(rule)) {
    seen.add(rule);
    rule = firsts[rule]?.find((first) => first >= 0 && (open[first] ?? 0) > 0) ?? rule;
  }
  return rule;
}
