/** What a grammar may be: whoever follows it takes its time and memory. */
export const GBNF_LIMITS = {
  /** Of the text. */
  chars: 256 * 1024,
  /** In counts, as llama.cpp has it. */
  repetition: 2_000,
  /** Parentheses within parentheses. */
  groupDepth: 64,
  /** Rules and elements once repetitions are written out. */
  rules: 20_000,
  elements: 100_000,
} as const;
