/** What a chat template may be and do: it comes with the model's file, and nobody has looked at it. */
export const TEMPLATE_LIMITS = {
  /** The longest known ones have 30 KB. */
  sourceChars: 64 * 1024,
  /** The library looks for tags behind white space again from each space of a run. */
  spaceRun: 200,
  /** Of a text within the template, the result included. */
  textChars: 4 * 1024 * 1024,
  /** Parts of a list, or pieces of a split text. */
  listItems: 20_000,
  /** Values within values, and calls within calls. */
  depth: 128,
  evaluationDepth: 400,
  /** One for each expression and for each 64 characters that one gives; 50 messages need about 10,000. */
  work: 100_000,
  /** The same for the small conversations that a template is tried with when it is opened. */
  tryWork: 20_000,
  /** The same, more for each value and character of the input. */
  workPerValue: 256,
} as const;
