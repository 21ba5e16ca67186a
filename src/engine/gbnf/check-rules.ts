import { NoodleError } from "../../common/index.ts";
import type { GrammarElement } from "./grammar.ts";

type Rules = readonly (readonly (readonly GrammarElement[])[])[];

/**
 * Refuses rules that whoever follows them would never come to the end of.
 *
 * @throws NoodleError `GRAMMAR_INVALID`
 */
export function checkRules(rules: Rules, root: number, nameOf: (rule: number) => string | undefined): void {
  const finite = markRules(rules, (element, marked) => element.kind === "char" || marked[element.rule] === 1);
  if (finite[root] !== 1) throw invalid("no text can ever be the whole of what `root` describes");
  const empty = markRules(rules, (element, marked) => element.kind === "rule" && marked[element.rule] === 1);
  const recursive = findLeftRecursion(rules, empty);
  if (recursive >= 0) {
    const name = nameOf(recursive);
    throw invalid(
      `${name === undefined ? "a repetition or group" : `the rule ${name.slice(0, 64)}`} begins with itself: ` +
        "something must come first in it that is not empty",
    );
  }
}

/** Marks rules with an alternative whose elements all pass, until nothing changes. Linear in the size of the rules. */
function markRules(rules: Rules, passes: (element: GrammarElement, marked: Uint8Array) => boolean): Uint8Array {
  const marked = new Uint8Array(rules.length);
  // For each rule the alternatives that wait for it, so that each alternative is looked at once for each of its elements.
  const waiting: { rule: number; elements: readonly GrammarElement[]; at: number }[][] = rules.map(() => []);
  const done: number[] = [];
  const go = (alternative: { rule: number; elements: readonly GrammarElement[]; at: number }): void => {
    for (; alternative.at < alternative.elements.length; alternative.at++) {
      const element = alternative.elements[alternative.at] as GrammarElement;
      if (passes(element, marked)) continue;
      if (element.kind === "rule") waiting[element.rule]?.push(alternative);
      return;
    }
    if (marked[alternative.rule] === 1) return;
    marked[alternative.rule] = 1;
    done.push(alternative.rule);
  };
  for (const [rule, alternatives] of rules.entries())
    for (const elements of alternatives) go({ rule, elements, at: 0 });
  for (let rule = done.pop(); rule !== undefined; rule = done.pop())
    for (const alternative of waiting[rule]?.splice(0) ?? []) go(alternative);
  return marked;
}

/** @returns a rule that can be reached from its own beginning without a character in between, or -1. */
function findLeftRecursion(rules: Rules, empty: Uint8Array): number {
  const firsts = rules.map((alternatives) => {
    const found = new Set<number>();
    for (const elements of alternatives) {
      for (const element of elements) {
        if (element.kind !== "rule") break;
        found.add(element.rule);
        if (empty[element.rule] !== 1) break;
      }
    }
    return [...found];
  });
  // Depth first without recursion: 1 = on the way, 2 = done.
  const seen = new Uint8Array(rules.length);
  for (let start = 0; start < rules.length; start++) {
    if (seen[start] !== 0) continue;
    const path = [{ rule: start, at: 0 }];
    seen[start] = 1;
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const next = firsts[top.rule]?.[top.at++];
      if (next === undefined) {
        seen[top.rule] = 2;
        path.pop();
      } else if (seen[next] === 1) return next;
      else if (seen[next] === 0) {
        seen[next] = 1;
        path.push({ rule: next, at: 0 });
      }
    }
  }
  return -1;
}

function invalid(problem: string): NoodleError {
  return new NoodleError("GRAMMAR_INVALID", `the grammar can not be followed: ${problem}`);
}
