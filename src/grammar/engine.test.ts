import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseGrammar } from "../gbnf/index.ts";
import { GrammarFollower, Vocabulary } from "../engine/gbnf/index.ts";
import { Tokenizer } from "../engine/index.ts";
import { compileJsonSchema, JSON_GRAMMAR } from "./index.ts";
import { fitsGrammar, isValidDocument } from "./testing.ts";

const MODEL = fileURLToPath(new URL("../../models/storyteller-q8_0.gguf", import.meta.url));

function openVocabulary(): Vocabulary {
  using tokenizer = Tokenizer.open(MODEL);
  const ids = Array.from({ length: tokenizer.vocabSize }, (_, id) => id);
  const ends = ids.filter((id) => tokenizer.isEndOfGeneration(id));
  return new Vocabulary(
    ids.map((id) => tokenizer.pieceBytes(id)),
    ends,
  );
}

/** A text of the grammar, token by token as the engine allows them; it ends as soon as it may from `wanted` tokens on. */
function sample(grammar: string, vocabulary: Vocabulary, numbers: readonly number[], wanted: number): string {
  const follower = new GrammarFollower(parseGrammar(grammar), vocabulary);
  const history: number[] = [];
  const bytes: Uint8Array[] = [];
  for (let i = 0; i < 400; i++) {
    follower.follow(history, 0);
    const fitting = follower.listFitting();
    const isEnd = fitting.some((token) => vocabulary.isEnd(token));
    if (isEnd && (i >= wanted || fitting.length === vocabulary.endTokens.length))
      return Buffer.concat(bytes).toString();
    const texts = fitting.filter((token) => !vocabulary.isEnd(token));
    // Towards the end, what closes comes first.
    const choice = i < wanted ? (numbers[i % numbers.length] ?? 0) % texts.length : pickClosing(texts, vocabulary);
    const token = texts[choice] ?? 0;
    history.push(token);
    bytes.push(vocabulary.piece(token));
  }
  return "";
}

function pickClosing(tokens: readonly number[], vocabulary: Vocabulary): number {
  const closing = ['"', "}", "]", "1", ":", ","].map((text) => Buffer.from(text));
  for (const text of closing) {
    const at = tokens.findIndex((token) => text.equals(vocabulary.piece(token)));
    if (at >= 0) return at;
  }
  return 0;
}

describe("the engine, over the bundled model's vocabulary", () => {
  const vocabulary = openVocabulary();
  const schema = {
    type: "object",
    properties: {
      name: { type: "string", maxLength: 12 },
      kind: { enum: ["one", "other"] },
      when: { type: "string", format: "date" },
      code: { type: "string", pattern: "^[A-Z]{2}-[0-9]{1,3}$" },
      count: { type: "integer", minimum: -5, maximum: 1200 },
      parts: { type: "array", items: { anyOf: [{ type: "boolean" }, { type: "number" }] }, maxItems: 3 },
    },
    required: ["kind", "count"],
    additionalProperties: false,
  };

  it.each([
    ["a schema", compileJsonSchema(schema), schema],
    ["any object", JSON_GRAMMAR, { type: "object" }],
  ])("writes documents of %s that are valid", (_, grammar, valid) => {
    let written = 0;
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { minLength: 30, maxLength: 30 }), fc.nat(25), (numbers, wanted) => {
        const text = sample(grammar, vocabulary, numbers, wanted);
        if (text === "") return;
        written += 1;
        expect(fitsGrammar(grammar, text)).toBe(true);
        expect([text, isValidDocument(JSON.parse(text), valid)]).toEqual([text, true]);
      }),
      { seed: 8, numRuns: 25 },
    );
    expect(written).toBeGreaterThan(12);
  });
});
