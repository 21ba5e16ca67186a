export { orderRules } from "./check-rules.ts";
export {
  type CharRanges,
  failGrammar,
  type Grammar,
  invertRanges,
  joinRanges,
  rangesHold,
  rangesMeet,
} from "./grammar.ts";
export { GBNF_LIMITS } from "./limits.ts";
export { parseGrammar } from "./parse-grammar.ts";
