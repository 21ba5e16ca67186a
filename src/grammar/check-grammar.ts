import { checkAmbiguity } from "./ambiguity.ts";
import { failGrammar, type Grammar } from "./gbnf.ts";
import { parseGrammar } from "./gbnf-parser.ts";
import { GRAMMAR_LIMITS } from "./limits.ts";

/** Stacks that a place can begin with: whoever follows a grammar keeps as many, and leaves the rest out. */
const MAX_BEGINNINGS = 1_000;

/**
 * Refuses every GBNF text that can't be followed, or only slowly: what can't be read, rules that are missing, begin with
 * themselves or never end, and ambiguity that makes more and more readings of one text.
 *
 * @throws NoodleError GRAMMAR_INVALID with line and column, or the rule, or the limit
 */
export function checkGrammar(gbnf: string): void {
  const bytes = Buffer.byteLength(gbnf);
  if (bytes > GRAMMAR_LIMITS.sourceBytes)
    failGrammar(`the grammar has ${bytes} bytes, the limit is ${GRAMMAR_LIMITS.sourceBytes}`);
  checkCompiled(gbnf);
}

/** The same without the limit on the text's length. */
export function checkCompiled(gbnf: string): void {
  const grammar = parseGrammar(gbnf);
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
  checkBeginnings(grammar, canBeEmpty);
  checkAmbiguity(grammar);
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

/** Left recursion, and rules that can begin in very many ways. */
function checkBeginnings(grammar: Grammar, canBeEmpty: ReadonlySet<number>): void {
  const firsts = grammar.rules.map(({ starts }) => starts.flatMap((start) => listFirsts(grammar, start, canBeEmpty)));
  const users: number[][] = grammar.rules.map(() => []);
  const open = firsts.map((list) => list.filter((first) => first >= 0).length);
  for (const [rule, list] of firsts.entries()) {
    for (const first of list) if (first >= 0) users[first]?.push(rule);
  }
  const beginnings: number[] = [];
  const ready = [...grammar.rules.keys()].filter((rule) => open[rule] === 0);
  let done = 0;
  for (let rule = ready.pop(); rule !== undefined; rule = ready.pop()) {
    done += 1;
    let ways = 0;
    for (const first of firsts[rule] ?? []) ways += first < 0 ? 1 : (beginnings[first] ?? 0);
    beginnings[rule] = ways;
    const name = grammar.rules[rule]?.name;
    if (ways > MAX_BEGINNINGS)
      failGrammar(`the rule \`${name}\` can begin in too many ways (limit ${MAX_BEGINNINGS})`, { rule: name });
    for (const user of users[rule] ?? []) {
      open[user] = (open[user] ?? 0) - 1;
      if (open[user] === 0) ready.push(user);
    }
  }
  if (done === grammar.rules.length) return;
  const name = grammar.rules[findCircle(firsts, open)]?.name;
  failGrammar(`the rule \`${name}\` can begin with itself: write it so that something is read first`, { rule: name });
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
