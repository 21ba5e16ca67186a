/** What a grammar may be. Each limit keeps a request from making the engine slow, or worse. */
export const GRAMMAR_LIMITS = {
  /** Of a schema as compact JSON, and of a grammar that a user wrote. */
  sourceBytes: 64 * 1024,
  /** Of a grammar made from a schema: what the engine takes. */
  compiledChars: 256 * 1024,
  /** Schemas within schemas. */
  depth: 32,
  /** Schemas that are looked at, those reached by `$ref` and made by `allOf` included. */
  schemaNodes: 4_000,
  /** Ways to read one text that are followed before a grammar counts as ambiguous. */
  ambiguitySteps: 200_000,
} as const;
