export { checkCompiled, checkGrammar } from "./check-grammar.ts";
export { GrammarBuilder, quoteText } from "./grammar-builder.ts";
export { JSON_GRAMMAR } from "./json-rules.ts";
export { addJsonSchema, compileJsonSchema } from "./json-schema.ts";
