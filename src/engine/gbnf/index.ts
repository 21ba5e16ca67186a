export type { Grammar } from "./grammar.ts";
export { GrammarFollower } from "./grammar-follower.ts";
export { parseGrammar } from "./parse-grammar.ts";
export { Vocabulary } from "./vocabulary.ts";
