export { GrammarFollower } from "./grammar-follower.ts";
export { Vocabulary } from "./vocabulary.ts";
