import { describe, expect, it } from "vitest";
import { makeTokenizer, MIN_VOCAB_SIZE } from "./tokenizer.ts";

function items(vocabSize: number, key: string): readonly unknown[] {
  const entry = makeTokenizer(vocabSize).get(`tokenizer.ggml.${key}`);
  return entry?.type === "array" ? entry.value : [];
}

describe.each([MIN_VOCAB_SIZE, 259, 1000, 32_000])("a vocabulary of %d", (vocabSize) => {
  const tokens = items(vocabSize, "tokens");

  it("has so many tokens, all different, each with a type", () => {
    expect(tokens).toHaveLength(vocabSize);
    expect(new Set(tokens).size).toBe(vocabSize);
    expect(items(vocabSize, "token_type")).toHaveLength(vocabSize);
  });

  it("has a token for every byte", () => {
    const bytes = tokens.slice(0, 256).map(String);
    expect(bytes.every((token) => token.length === 1)).toBe(true);
    expect(bytes[0x41]).toBe("A");
    expect(bytes[0x20]).toBe("Ġ");
    expect(bytes[0x0a]).toBe("Ċ");
    expect(bytes[0xe9]).toBe("é");
    expect(bytes[0xad]).toBe("Ń");
  });

  it("makes every longer token by a merge of two tokens before it", () => {
    const known = new Set(tokens.slice(0, 256));
    const merges = items(vocabSize, "merges").map(String);
    expect(merges).toHaveLength(vocabSize - MIN_VOCAB_SIZE);
    for (const merge of merges) {
      const parts = merge.split(" ");
      expect(parts.every((part) => known.has(part))).toBe(true);
      known.add(parts.join(""));
    }
    expect(tokens.slice(MIN_VOCAB_SIZE).every((token) => known.has(token))).toBe(true);
  });
});
