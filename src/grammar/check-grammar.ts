import { failGrammar, type Grammar, orderRules, parseGrammar } from "../gbnf/index.ts";
import { checkAmbiguity } from "./ambiguity.ts";
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
  checkBeginnings(grammar);
  checkAmbiguity(grammar);
}

/** Refuses rules that can begin in very many ways. */
function checkBeginnings(grammar: Grammar): void {
  const { order, firsts } = orderRules(grammar);
  const beginnings: number[] = [];
  for (const rule of order) {
    let ways = 0;
    for (const first of firsts[rule] ?? []) ways += first < 0 ? 1 : (beginnings[first] ?? 0);
    beginnings[rule] = ways;
    const name = grammar.rules[rule]?.name;
    if (ways > MAX_BEGINNINGS)
      failGrammar(`the rule \`${name}\` can begin in too many ways (limit ${MAX_BEGINNINGS})`, { rule: name });
  }
}
